import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Finding } from '../../src/doctor/finding'
import { type Run, runCli, startLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { signal } from '../support/processes'
import { Versions } from '../support/versions'

function findingsOf({ stdout }: Run): Record<string, Finding> {
  const { schema, findings } = JSON.parse(stdout) as { schema: number; findings: Finding[] }
  expect(schema).toBe(1)
  return Object.fromEntries(findings.map((finding) => [finding.check, finding]))
}

test('doctor says what a start would find: a taken port, what to do about it, and 1 (M-10)', async () => {
  const directory = temporaryDirectory()
  const port = await freePort()
  const words = ['doctor', '--runtime-dir', join(directory, 'run'), '--ports', String(port), '--health', '/']
  const command = ['--', 'node', fixture('servers/versioned.cjs')]
  const well = await runCli([...words, '-n', '2', ...command], { cwd: directory })
  expect(well).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining(`${port}: free`) })
  const stranger = createServer().listen(port, '127.0.0.1')
  onTestFinished(() => void stranger.close())
  const taken = await runCli([...words, '--json', ...command], { cwd: directory })
  expect(taken.code).toBe(1)
  expect(JSON.parse(taken.stdout)).toMatchObject({ ok: false })
  expect(findingsOf(taken)).toMatchObject({
    node: { level: 'ok' },
    addon: { level: 'ok' },
    ports: { level: 'fail', text: expect.stringContaining(`pid ${process.pid}`), next: expect.any(String) },
    'program-node': { level: 'ok' },
    readiness: { level: 'ok' },
  })
  expect(await runCli(['doctor', '--no-such'], {})).toMatchObject({ code: 2 })
})

test('doctor beside a launcher that runs, from elsewhere, and over the files of one that was killed', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({ command: versions.command(port), cwd: versions.directory })
  const words = ['--json', '--ports', String(port)]
  const running = await launcher.run('doctor', ...words)
  expect(running.code).toBe(0)
  expect(findingsOf(running)).toMatchObject({
    name: { level: 'ok', text: expect.stringContaining(`pid ${launcher.pid}`) },
    ports: { level: 'ok', text: expect.stringContaining('only the launcher') },
  })
  const place = ['--runtime-dir', launcher.runtimeDir, '--name', launcher.name]
  const elsewhere = await runCli(['doctor', ...place, ...words], { cwd: temporaryDirectory() })
  expect(elsewhere.code).toBe(1)
  expect(findingsOf(elsewhere)['name']).toMatchObject({ level: 'fail', next: expect.stringContaining('--name test-2') })
  signal(launcher.pid, 'SIGKILL')
  await launcher.ended
  expect(findingsOf(await launcher.run('doctor', ...words))['name']).toMatchObject({
    level: 'warn',
    text: expect.stringContaining(`pid ${launcher.pid}`),
  })
  await launcher.destroy()
})

test('doctor --unit prints a unit with these words, and starts nothing', async () => {
  const directory = temporaryDirectory()
  const words = [
    'doctor',
    '--unit',
    '--name',
    'shop',
    '-n',
    '3',
    '--bake',
    '9s',
    '--no-migrate',
    '--',
    'node',
    'app.js',
  ]
  const { code, stdout, stderr } = await runCli(words, { cwd: directory })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^ExecStart=.*main\.js --name shop -n 3 --bake 9s --no-migrate -- node app\.js$/m)
  expect(stdout).toContain(`WorkingDirectory=${directory}\n`)
  expect(await runCli(['doctor', '--unit'], { cwd: directory })).toMatchObject({ code: 2 })
})
