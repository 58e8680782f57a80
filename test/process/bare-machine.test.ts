import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { ask, Clients } from '../support/clients'
import { startLauncher } from '../support/launcher'
import { TEST_NODE } from '../support/paths'
import { freePort } from '../support/ports'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/* Machines that lack something, or have it otherwise; and networks that end without a word. */

const isRoot = process.getuid?.() === 0
const NO_PROC = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh']

test.runIf(isRoot)(
  'no /proc: it serves, reloads, replaces a crashed worker, is followed by another, and ends as ever (M-01)',
  async () => {
    const [port, versions] = [await freePort(), new Versions()]
    const command = versions.command(port)
    const first = await startLauncher({ command, cwd: versions.directory, options: ['-n', '2'], under: NO_PROC })
    const clients = new Clients(port)
    await clients.more(50)
    versions.deploy('two')
    expect(await first.reload()).toMatchObject({ result: 'done', kernel: null })
    expect(await ask(port, '/version')).toBe('two')
    await clients.more(50)
    expect((await clients.stop()).failures).toEqual([])
    const before = await first.pids()
    await expect(ask(port, '/exit?code=3')).rejects.toThrow()
    await first.when(
      'another one serves',
      ({ slots }) =>
        slots.every(({ worker }) => worker?.state === 'serving') &&
        slots.some(({ worker }) => !before.includes(worker?.pid ?? 0)),
    )
    // Who holds which socket it cannot see: it starts beside those that serve, and they leave.
    const left = await first.pids()
    await first.die()
    const second = await first.beside()
    for (const pid of left) await second.event('worker.exited', ({ workerPid }) => workerPid === pid)
    expect(await ask(port, '/version')).toBe('two')
    await second.stop()
  },
)

describe.runIf(isRoot)('a network of its own', () => {
  const inNetwork = (first: string): string[] => [
    'unshare',
    '--net',
    'sh',
    '-c',
    `ip link set lo up && ${first} && exec "$@"`,
    'sh',
  ]

  test.each([0, 1])('net.ipv4.tcp_migrate_req=%i: nothing is lost by reloads (M-07)', async (value) => {
    const [port, versions] = [await freePort(), new Versions()]
    const launcher = await startLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['-n', '2'],
      under: inNetwork(`echo ${value} >/proc/sys/net/ipv4/tcp_migrate_req`),
    })
    // A connection per request, four at a time, until its input ends.
    const load = `let [over, answers] = [false, 0]
      process.stdin.on('data', () => {}).on('end', () => { over = true })
      const ask = () => new Promise((done, fail) => require('http').get({ host: '127.0.0.1', port: ${port}, agent: false },
        (response) => response.resume().on('end', done).on('error', fail)).on('error', fail))
      const loop = async () => { while (!over) { await ask(); if (++answers === 50) console.log('under way') } }
      Promise.all([loop(), loop(), loop(), loop()]).then(() => console.log('over'))`
    const client = spawn('nsenter', ['-t', String(launcher.pid), '-n', TEST_NODE, '-e', load], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const ended = once(client, 'exit')
    const said: string[] = []
    client.stdout.on('data', (data) => said.push(String(data)))
    await until('it is under way', () => said.length > 0)
    for (const version of ['two', 'three', 'four']) {
      versions.deploy(version)
      expect(await launcher.reload()).toMatchObject({ result: 'done' })
    }
    client.stdin.end()
    expect({ code: (await ended)[0], said: said.join('') }).toEqual({ code: 0, said: 'under way\nover\n' })
    await launcher.stop()
  })

  test('a client that has vanished without a word: the drain ends at its deadline, and says so (N-12)', async () => {
    const [port, versions] = [await freePort(), new Versions()]
    const launcher = await startLauncher({
      command: versions.command(port),
      cwd: versions.directory,
      options: ['--drain-timeout', '1s'],
      under: inNetwork('true'),
    })
    const within = (...words: string[]): string => {
      const run = spawnSync('nsenter', ['-t', String(launcher.pid), '-n', ...words], {
        encoding: 'utf8',
        timeout: 20_000,
      })
      expect(run.stderr).toBe('')
      return run.stdout
    }
    // It has the first bytes of its answer, and ends; its end is told to nobody.
    const client = `const call = require('http').get('http://127.0.0.1:${port}/slow?ms=3600000', (response) =>
      response.once('data', () => {
        require('child_process').execFileSync('ip', ['link', 'set', 'lo', 'down'])
        process.exit()
      }))`
    within(TEST_NODE, '-e', client)
    versions.deploy('two')
    const verdict = await launcher.reload()
    expect(verdict).toMatchObject({ result: 'done', workers: [{ cut: 1 }] })
    within('ip', 'link', 'set', 'lo', 'up')
    const asked = `fetch('http://127.0.0.1:${port}/version').then((answer) => answer.text()).then(console.log)`
    expect(within(TEST_NODE, '-e', asked)).toBe('two\n')
    await launcher.stop()
  })
})
