import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask, Clients } from '../support/clients'
import { startLauncher, TestLauncher, temporaryDirectory } from '../support/launcher'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

test('under load: 10 changes are 10 reloads, and nothing is lost', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['--watch', '-n', '2'],
  })
  const clients = new Clients(port)
  for (let n = 1; n <= 10; n++) {
    const from = launcher.events.length
    versions.deploy(`v${n}`)
    const done = await launcher.event('watch.reloaded', undefined, from)
    expect(done).toMatchObject({ files: ['version'], generation: n + 1 })
    expect(await ask(port, '/version')).toBe(`v${n}`)
  }
  await clients.more(50)
  expect((await clients.stop()).failures).toEqual([])
  expect(launcher.events.filter(({ msg }) => msg === 'reload.started')).toHaveLength(10)
  await launcher.stop()
})

test('what changes while a reload runs leads to one more, with all of it', async () => {
  const [port, versions, gate] = [await freePort(), new Versions(), join(temporaryDirectory(), 'gate')]
  const at = (name: string): string => join(versions.directory, name)
  // It does not listen before there is a gate.
  const program = (version: string): string =>
    `const go = () => require('fs').existsSync(${JSON.stringify(gate)})
       ? require('http').createServer((_, response) => response.end('${version}')).listen(${port})
       : setTimeout(go, 5)
     go()`
  writeFileSync(gate, '')
  writeFileSync(at('server.cjs'), program('one'))
  const launcher = await startLauncher({
    command: ['node', 'server.cjs'],
    cwd: versions.directory,
    options: ['--watch', '--watch-delay', '20ms'],
  })
  const count = (name: string): number => launcher.events.filter(({ msg }) => msg === name).length
  rmSync(gate)
  writeFileSync(at('server.cjs'), program('two'))
  await launcher.event('reload.started')
  for (const [index, name] of ['a.js', 'b.js', 'c.js', 'server.cjs'].entries()) {
    writeFileSync(at(name), program('three'))
    await until('it was seen', () => count('watch.changed') === index + 2)
  }
  writeFileSync(gate, '')
  const all = { files: ['a.js', 'b.js', 'c.js', '1 more'], generation: 3 }
  expect(await launcher.event('watch.reloaded', ({ id }) => id === 2)).toMatchObject(all)
  expect(await ask(port)).toBe('three')
  expect([count('reload.started'), count('reload.done')]).toEqual([2, 2])
  await launcher.stop()
})

test('a version that does not start is said at once, on one line with its own words; the one before it serves on', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const launcher = new TestLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['--watch', '--log-format', 'text'],
    bake: null,
  })
  const lines = (): string[] => launcher.errors.map((line) => line.replace(/^[\d:.]+ /, ''))
  const shown = (start: string): Promise<string> =>
    until(
      () => `${start}\n${lines().join('\n')}`,
      () => lines().find((line) => line.startsWith(start)),
    )
  await shown('launcher.serving')
  versions.deploy('exits-at-load 7')
  expect(await shown('error reload.aborted')).toContain('exited with code 7')
  expect(await ask(port, '/version')).toBe('one')
  versions.deploy('two')
  await shown('watch.reloaded')
  expect(await ask(port, '/version')).toBe('two')
  launcher.kill('SIGTERM')
  await launcher.leavesNothing()
  expect(lines().map((line) => line.replace(/ [a-z]+=.*/, ''))).toEqual([
    'watch.started',
    'launcher.serving',
    'bad version: exit 7',
    'error reload.aborted',
    'watch.reloaded',
  ])
})

test('what the program writes itself is no change, nor what is ignored; its environment is one, and the config file', async () => {
  const [port, versions] = [await freePort(), new Versions()]
  const at = (name: string): string => join(versions.directory, name)
  writeFileSync(at('.env'), 'COLOUR=red')
  writeFileSync(
    at('server.cjs'),
    `const log = require('fs').createWriteStream('requests.log', { flags: 'a' })
     require('http').createServer((request, response) => log.write('x', () => response.end(process.env.COLOUR))).listen(${port})`,
  )
  mkdirSync(at('uploads'))
  writeFileSync(
    at('reuseport-run.config.json'),
    JSON.stringify({ watch: true, watchIgnore: ['uploads'], watchDelay: '30ms', envFile: '.env' }),
  )
  const launcher = await startLauncher({ command: ['node', 'server.cjs'], cwd: versions.directory })
  const changed = (): unknown[] =>
    launcher.events.filter(({ msg }) => msg === 'watch.changed').map(({ files }) => files)
  for (let n = 0; n < 5; n++) expect(await ask(port)).toBe('red')
  writeFileSync(at('uploads/x'), 'x')
  writeFileSync(at('.env.next'), 'COLOUR=blue')
  renameSync(at('.env.next'), at('.env'))
  await launcher.event('watch.reloaded')
  expect(await ask(port)).toBe('blue')
  writeFileSync(at('reuseport-run.config.json'), JSON.stringify({ watch: true, envFile: '.env', env: { A: 'b' } }))
  await launcher.event('watch.reloaded', ({ generation }) => generation === 3)
  expect(changed()).toEqual([['.env'], ['reuseport-run.config.json']])
  await launcher.stop()
})
