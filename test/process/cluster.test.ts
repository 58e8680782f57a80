import { get } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { askJson } from '../support/clients'
import { startLauncher } from '../support/launcher'
import { ROOT } from '../support/paths'
import { freePort } from '../support/ports'
import { isAlive } from '../support/processes'
import { until } from '../support/until'
import { KeepAliveLoad } from '../support/worker/keep-alive-load'

const command = (port: number): string[] => [
  'node',
  join(ROOT, 'test', 'fixtures', 'servers', 'clustered.cjs'),
  String(port),
]

const slow = (port: number, ms: number, begun: () => void = () => {}): Promise<string> =>
  new Promise((done) => {
    const options = { host: '127.0.0.1', port, path: '/slow', headers: { 'x-ms': String(ms) }, agent: false } as const
    get(options, (response) => {
      begun()
      let text = ''
      response.on('data', (data) => {
        text += data
      })
      response.on('end', () => done(text))
      response.on('error', (error) => done(error.message))
    }).on('error', (error) => done(error.message))
  })

test('node:cluster inside: held, proven and drained through its primary; nothing is lost (J-08)', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: command(port),
    options: ['--health', '/', '--drain-spread', '300ms', '-n', '2'],
  })
  const env = await askJson<Record<string, string>>(port, '/env')
  expect(Object.keys(env).filter((name) => /REUSEPORT|NODE_OPTIONS|NODE_UNIQUE_ID/.test(name))).toEqual([])

  const busy = new KeepAliveLoad(port, { connections: 8, thinkMs: 0 })
  const thinking = new KeepAliveLoad(port, { connections: 24, thinkMs: 400 })
  const fresh = { failed: 0, answered: 0, isOver: false }
  const connecting = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (!fresh.isOver) {
        if (/^\d+ \d+$/.test(await slow(port, 5))) fresh.answered++
        else fresh.failed++
      }
    }),
  )
  for (let round = 0; round < 4; round++) {
    const [primaries, answered] = [await launcher.pids(), fresh.answered]
    await until('new connections are answered', () => fresh.answered > answered + 20)
    const running = Array.from({ length: 6 }, () => slow(port, 700))
    const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`)
    const owner = String(await new Promise((done) => socket.once('message', done))).split(' ')[0]
    const code = new Promise((done) => socket.once('close', done))
    const verdict = await launcher.reload('retired')
    expect(verdict).toMatchObject({ result: 'done', notes: [] })
    expect(verdict.workers.map(({ cut, requests }) => [cut, requests])).toEqual(Array(2).fill([0, []]))
    const sum = (key: 'kept' | 'closed'): number => verdict.workers.reduce((total, one) => total + (one[key] ?? 0), 0)
    expect(sum('kept')).toBeGreaterThan(20)
    expect(sum('closed')).toBeGreaterThan(20)
    expect(await code).toBe(1012)
    expect(primaries).toContain(Number(owner))
    expect(primaries.filter(isAlive)).toEqual([])
    for (const answer of await Promise.all(running)) expect(answer).toMatch(/^\d+ \d+$/)
  }
  fresh.isOver = true
  await connecting
  expect(await busy.stop()).toMatchObject({ failed: 0, closedIdle: 0 })
  expect(await thinking.stop()).toMatchObject({ failed: 0, closedIdle: 0 })
  expect(fresh.failed).toBe(0)
  expect(busy.tally.answered).toBeGreaterThan(1_000)

  // The end of the service is no other.
  const running = slow(port, 1_000)
  expect(await slow(port, 1)).toMatch(/^\d+ \d+$/)
  const stopped = launcher.stop()
  expect(await running).toMatch(/^\d+ \d+$/)
  await stopped
}, 90_000)

test('what a child has in hand is in status, and in the verdict when it was cut', async () => {
  const port = await freePort()
  const launcher = await startLauncher({ command: command(port), options: ['--drain-timeout', '1500ms'] })
  let inHand = 0
  const endless = [1, 2].map(() => slow(port, 600_000, () => inHand++))
  await until('both are in hand', () => inHand === 2)
  const verdict = launcher.reload('retired')
  const { leaving } = await launcher.when('the primary says what its children have', (status) =>
    Object.values(status.leaving[0]?.held ?? {}).some(({ open }) => open === 2),
  )
  expect(leaving[0]).toMatchObject({ state: 'draining', held: { http: { open: 2 } } })
  const { workers, notes } = await verdict
  expect(notes).toEqual([])
  expect(workers[0]).toMatchObject({
    kept: 2,
    closed: 0,
    cut: 2,
    kinds: { http: { moved: 0, closed: 0, cut: 2 } },
    requests: Array(2).fill({ kind: 'http', method: 'GET', path: '/slow' }),
  })
  expect(await Promise.all(endless)).toEqual(Array(2).fill(expect.stringMatching(/aborted|socket hang up|ECONNRESET/)))
  await launcher.stop()
})

test('a warm spare with node:cluster inside takes a slot, and scales with the others', async () => {
  const port = await freePort()
  const launcher = await startLauncher({
    command: command(port),
    options: ['-n', '2', '--standby', '1', '--park', '50ms'],
  })
  const { standby } = await launcher.when('the spare is ready', (status) => status.standby[0]?.isReady === true)
  const [, pid] = (await launcher.pids()) as [number, number]
  process.kill(pid, 'SIGKILL')
  await launcher.when('it serves', ({ slots }) => slots[1]?.worker?.pid === standby[0]?.pid)
  const owner = async (): Promise<number> => Number((await slow(port, 1)).split(' ')[0])
  await until('it answers', async () => (await owner()) === standby[0]?.pid)
  expect(await (await launcher.control()).scale({ to: 1 })).toMatchObject({ result: 'done' })
  await launcher.event('socket.closed')
  expect(await owner()).toBe((await launcher.pids())[0])
  await launcher.stop()
})
