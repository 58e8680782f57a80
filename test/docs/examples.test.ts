import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseCommandLine } from '../../src/cli/parse'
import { DEFAULTS } from '../../src/options'
import { ROOT } from '../support/paths'
import { read } from './markdown'

/*
 * Files for others: Docker, Kubernetes, Nomad, Ansible, GitHub. Who would run them is not here; what they say of this package, and of each other, is looked at.
 */

interface Tree {
  readonly [key: string]: Tree
}

/** Every document of a YAML file, as PyYAML understands it. */
function yaml(path: string): Tree[] {
  const program = 'import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))'
  return JSON.parse(execFileSync('python3', ['-c', program, join(ROOT, path)], { encoding: 'utf8' })) as Tree[]
}

const PROGRAM = 'node_modules/.bin/reuseport-run'
const isStart = { verb: 'start', command: ['node', 'server.js'] }
/** What the launcher may need for its end, in seconds. */
const STOP_S = (DEFAULTS.drainTimeoutMs + DEFAULTS.killAfterMs) / 1000

test('Docker: both stages fit, the launcher is PID 1 of a command that it takes, with time to drain', () => {
  const lines = read('examples/docker/Dockerfile')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => /^([A-Z]+) (.*)$/.exec(line)?.slice(1) as [string, string])
  const all = (name: string): string[] => lines.flatMap(([word, rest]) => (word === name ? [rest] : []))
  const [first, second] = all('FROM') as [string, string]
  const stage = / AS (\w+)$/.exec(first)?.[1]
  expect(all('COPY').filter((words) => words.startsWith('--from='))).toEqual([`--from=${stage} /app /app`])
  // What is built in the first one runs in the second.
  expect(second).toBe(`${first.replace(/ AS .*/, '')}-slim`)
  const list = (name: string): string[] => JSON.parse(all(name)[0] as string) as string[]
  expect(list('ENTRYPOINT')).toEqual([PROGRAM])
  expect(parseCommandLine(list('CMD'))).toMatchObject(isStart)
  expect(all('STOPSIGNAL')).toEqual(['SIGTERM'])
  for (const words of all('RUN').flatMap((run) => run.split(' && ').map((one) => one.split(' ')))) {
    if (words[0] === PROGRAM) expect(parseCommandLine(words.slice(1)).verb).toBe('doctor')
    if (words[0] === 'node')
      expect(existsSync(join(ROOT, (words[1] as string).replace('node_modules/reuseport-run/', '')))).toBe(true)
  }
  const stops = [read('docs/containers.md'), read('examples/docker/Dockerfile')]
    .join()
    .matchAll(/(?:--stop-timeout|stop_grace_period:|stop_wait_time:) (\d+)/g)
  for (const [words, seconds] of stops) expect(Number(seconds), words).toBeGreaterThan(STOP_S)
})

test('Kubernetes: objects that belong together, a command that the launcher takes, and a grace period for all of it', () => {
  const objects = new Map(yaml('examples/kubernetes/shop.yml').map((object) => [String(object['kind']), object]))
  expect([...objects.keys()]).toEqual(['ConfigMap', 'Deployment', 'Service'])
  const spec = objects.get('Deployment')?.['spec'] as Tree
  const pod = spec['template']?.['spec'] as Tree
  const labels = spec['template']?.['metadata']?.['labels']
  expect(spec['selector']).toEqual({ matchLabels: labels })
  expect(objects.get('Service')?.['spec']?.['selector']).toEqual(labels)
  const [container] = pod['containers'] as unknown as [Tree]
  const args = container['args'] as unknown as string[]
  expect(parseCommandLine(args)).toMatchObject(isStart)
  // Each probe goes to a port that is there; those of the launcher to the one that it is told to open.
  const ports = new Map(
    (container['ports'] as unknown as { name: string; containerPort: number }[]).map((one) => [
      one.name,
      one.containerPort,
    ]),
  )
  for (const probe of ['readinessProbe', 'startupProbe', 'livenessProbe']) {
    const asked = container[probe]?.['httpGet'] as unknown as { path: string; port: string }
    const { path, port } = asked
    const where = args[args.indexOf(path === '/healthz' ? '--health' : '--metrics') + 1]
    expect(path === '/healthz' ? path : `0.0.0.0:${ports.get(port)}`, probe).toBe(where)
    expect(ports.get(port), probe).toBeDefined()
  }
  const preStop = container['lifecycle']?.['preStop']?.['exec']?.['command'] as unknown as [string, string]
  const [, seconds] = preStop
  expect(Number(pod['terminationGracePeriodSeconds'])).toBeGreaterThan(Number(seconds) + STOP_S)
  // The file of --env-file is one of the map that is mounted there.
  const [mount] = container['volumeMounts'] as unknown as [Tree]
  const file = args[args.indexOf('--env-file') + 1] as string
  expect(Object.keys(objects.get('ConfigMap')?.['data'] as Tree)).toContain(file.replace(`${mount['mountPath']}/`, ''))
})

test('Nomad: a command that the launcher takes, and time for its end', () => {
  const text = read('examples/nomad/shop.nomad.hcl')
  const value = (name: string): string => new RegExp(`^ *${name} *= (.*)$`, 'm').exec(text)?.[1] as string
  expect(parseCommandLine(JSON.parse(value('args')) as string[])).toMatchObject(isStart)
  expect(Number.parseInt(JSON.parse(value('kill_timeout')) as string, 10)).toBeGreaterThan(STOP_S)
  expect([value('kill_signal'), value('change_mode'), value('change_signal')]).toEqual([
    '"SIGTERM"',
    '"signal"',
    '"SIGHUP"',
  ])
})

test('GitHub: the jobs run what CI runs, on every Node that is supported, and need no secret', async () => {
  const text = read('.github/workflows/ci.yml')
  expect(text).not.toContain('secrets')
  const [{ jobs }] = yaml('.github/workflows/ci.yml') as [Tree]
  const { SUPPORTED } = (await import(join(ROOT, 'scripts', 'nodes.mjs'))) as { SUPPORTED: string[] }
  const nodes = jobs?.['test']?.['strategy']?.['matrix']?.['node'] as unknown as number[]
  expect(nodes.map(String)).toEqual(SUPPORTED)
  const runs = Object.values(jobs as Tree).flatMap(({ steps }) =>
    (steps as unknown as { run?: string }[]).flatMap(({ run }) => run ?? []),
  )
  const files = runs.flatMap((run) => run.match(/(?:\.ci|scripts)\/[\w.-]+/g) ?? [])
  expect(files).toContain('.ci/run')
  for (const file of files) expect(existsSync(join(ROOT, file)), file).toBe(true)
})
