import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryDirectory } from '../support/launcher.js'
import { ROOT } from '../support/paths.js'

/* Benchmarks that nobody runs rot. What they measure here, in the shortest time that they can, is looked at by nobody. */

test('every part of the benchmark runs, with every contender, and writes its page', () => {
  const page = join(temporaryDirectory(), 'benchmarks.md')
  execFileSync(process.execPath, [join(ROOT, 'bench', 'bench.mjs'), '--smoke', '--out', page], { stdio: 'pipe' })
  const results = JSON.parse(readFileSync(page.replace(/md$/, 'json'), 'utf8')) as Record<
    string,
    { found: Record<string, unknown[]> }
  >
  const measured = Object.entries(results).map(([part, { found }]) => [part, Object.keys(found)])
  expect(Object.fromEntries(measured)).toEqual({
    losses: ['reuseport-run', 'node:cluster', 'pm2'],
    throughput: [
      'reuseport-run',
      'plain reuseport',
      'plain node',
      'node:cluster',
      'node:cluster, no schedule',
      'pm2',
      'nginx',
      'C, epoll',
    ],
    reload: ['reuseport-run', 'reuseport-run, warm', 'node:cluster', 'pm2', 'nginx', 'plain node'],
    launch: ['reuseport-run', 'reuseport-run, no heartbeat', 'plain node', 'node:cluster'],
    descriptors: ['addon', 'C', 'child.send(handle)'],
    migrate: ['idle', 'idle, beside busy ones'],
    control: ['reuseport-run', 'pm2'],
    many: ['reuseport-run', 'plain node', 'node:cluster'],
    growth: ['reuseport-run', 'plain node'],
  })
  const text = readFileSync(page, 'utf8')
  for (const title of [
    'Goals',
    'What reloads lose',
    'Requests a second',
    'Latency, and reloads',
    'Descriptors',
    'Many',
  ])
    expect(text).toContain(`## ${title}`)
  expect(text).not.toMatch(/NaN|undefined|Infinity/)
  // What is said of a goal must find it: it is known by its name.
  const said = readFileSync(join(ROOT, 'bench', 'explanations.md'), 'utf8').matchAll(/^## (.+)$/gm)
  for (const [, goal] of said) expect(text).toContain(`| ${goal} |`)
}, 900_000)
