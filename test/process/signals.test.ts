import { constants } from 'node:os'
import { describe, expect, test } from 'vitest'
import { Page } from '../docs/markdown'
import { ask, Clients } from '../support/clients'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { freePort } from '../support/ports'
import { factsOf } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

/*
 * Every row of the table in docs/signals.md: what it says in bold about the launcher and about a worker is what happens.
 */

interface Row {
  readonly signal: NodeJS.Signals
  readonly launcher: string
  readonly worker: string
}

const bold = (cell: string | undefined): string => /\*\*(.+?)\*\*/.exec(cell ?? '')?.[1] ?? ''
const rows: Row[] = new Page('docs/signals.md').table('signal').map(([signal, launcher, worker]) => ({
  signal: signal as NodeJS.Signals,
  launcher: bold(launcher) + (/\*\*, logged/.test(launcher as string) ? ', logged' : ''),
  worker: bold(worker),
}))
const rowsOf = (who: 'launcher' | 'worker', ...what: string[]): NodeJS.Signals[] =>
  rows.filter((row) => what.includes(row[who])).map(({ signal }) => signal)

/** Without core files, whatever the signal. */
const UNDER = ['sh', '-c', 'ulimit -c 0; exec "$@"', 'sh']

async function start(workers: number, ...options: string[]): Promise<{ launcher: TestLauncher; port: number }> {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    cwd: versions.directory,
    options: ['-n', String(workers), ...options],
    under: UNDER,
    env: { NODE_OPTIONS: '--inspect-port=0' },
  })
  return { launcher, port }
}

/** So much is sure once a process has answered a question: what was sent to it before has reached it. */
async function answersOf(port: number, pid: number): Promise<void> {
  await until(`${pid} answers`, async () => (await ask(port).catch(() => '')) === String(pid))
}

test('the table has the 31 signals, in the order of their numbers', () => {
  const NAMES = Object.entries(constants.signals).filter(([name]) => name !== 'SIGPOLL' && name !== 'SIGIOT')
  expect(rows.map(({ signal }) => constants.signals[signal])).toEqual(
    Array.from({ length: 31 }, (_, index) => index + 1),
  )
  for (const { signal } of rows) expect(NAMES.map(([name]) => name)).toContain(signal)
})

test('the table says nothing that is not tried here', () => {
  const known = {
    launcher: [
      'reload',
      'stop',
      'stop now',
      'upgrade',
      'ends',
      'no effect',
      'no effect, logged',
      'stands still',
      'one worker more',
      'one worker less',
    ],
    worker: ['ends', 'no effect', 'inspector', 'stands still'],
  }
  for (const { signal, launcher, worker } of rows) {
    expect(known.launcher, signal).toContain(launcher)
    expect(known.worker, signal).toContain(worker)
  }
})

describe('the launcher', () => {
  test.each(rowsOf('launcher', 'ends'))('%s ends it, and its worker serves on (K-07)', async (signal) => {
    const { launcher, port } = await start(1)
    const [pid] = await launcher.pids()
    launcher.kill(signal)
    expect(await launcher.ended).toEqual({ code: null, signal })
    expect(await ask(port)).toBe(String(pid))
    await launcher.destroy()
  })

  test('what has no effect has none, and is logged where the table says so; then what orders something (K-07)', async () => {
    const { launcher, port } = await start(1)
    const clients = new Clients(port, 1)
    const pids = await launcher.pids()
    for (const signal of rowsOf('launcher', 'no effect', 'no effect, logged')) {
      const isLogged = rowsOf('launcher', 'no effect, logged').includes(signal)
      const from = launcher.events.length
      launcher.kill(signal)
      if (isLogged) expect(await launcher.event('signal', undefined, from)).toMatchObject({ signal, level: 40 })
      expect(await launcher.pids(), signal).toEqual(pids)
      expect(launcher.events.slice(from), signal).toHaveLength(isLogged ? 1 : 0)
    }
    for (const signal of rowsOf('launcher', 'one worker more')) {
      launcher.kill(signal)
      await launcher.when(
        'two workers serve',
        ({ slots }) => slots.filter((one) => one.worker?.state === 'serving').length === 2,
      )
    }
    for (const signal of rowsOf('launcher', 'one worker less')) {
      launcher.kill(signal)
      await launcher.when('one worker is there', ({ slots }) => slots.length === 1)
    }
    for (const signal of rowsOf('launcher', 'reload')) {
      launcher.kill(signal)
      await launcher.event('reload.done')
      expect(await launcher.pids()).not.toEqual(pids)
    }
    for (const signal of rowsOf('launcher', 'upgrade')) {
      const from = launcher.events.length
      launcher.kill(signal)
      await launcher.event('upgrade.done', undefined, from)
      await launcher.event('reload.done', undefined, from)
    }
    expect((await clients.stop()).failures).toEqual([])
    await launcher.stop()
  })

  test.each(rowsOf('launcher', 'stop', 'stop now'))('%s stops', async (signal) => {
    const { launcher } = await start(1)
    await launcher.stop(signal, rowsOf('launcher', 'stop').includes(signal) ? 0 : 128 + constants.signals[signal])
  })

  // From an interactive shell SIGTSTP comes in terminal.test.ts: it does not stop a process without such a parent.
  test.each(rowsOf('launcher', 'stands still').filter((signal) => signal !== 'SIGTSTP'))(
    '%s, for longer than a worker may hang: its workers serve on, and none is killed after SIGCONT (B-08)',
    async (signal) => {
      const { launcher, port } = await start(2, '--hang-timeout', '100ms', '--hang-kill', '200ms')
      const clients = new Clients(port, 1)
      const pids = await launcher.pids()
      launcher.kill(signal)
      await until('it stands still', () => factsOf(launcher.pid)?.state === 'T')
      const since = Date.now()
      await until('it has stood still for a second', () => Date.now() - since > 1_000)
      await clients.more(50)
      launcher.kill('SIGCONT')
      const from = launcher.events.length
      expect(await launcher.pids()).toEqual(pids)
      // Some beats later it is still so.
      const back = Date.now()
      await until('beats have come', () => Date.now() - back > 400)
      expect(await launcher.pids()).toEqual(pids)
      expect(launcher.events.slice(from)).toEqual([])
      expect((await clients.stop()).failures).toEqual([])
      await launcher.stop()
    },
  )
})

describe('a worker', () => {
  test('that a signal ends is replaced, and only what it had in hand is lost (A-09, K-07, K-08)', async () => {
    // A slot that crashes more than five times in 30 s would be made to wait.
    const WORKERS = 5
    const { launcher, port } = await start(WORKERS)
    const clients = new Clients(port, 2, false)
    const signals = rowsOf('worker', 'ends')
    expect(signals.length).toBeLessThanOrEqual(5 * WORKERS)
    for (const [index, signal] of signals.entries()) {
      const slot = index % WORKERS
      const pid = (await launcher.pids())[slot] as number
      const lost = clients.failures.length
      process.kill(pid, signal)
      const exited = await launcher.event('worker.exited', ({ workerPid }) => workerPid === pid)
      expect(exited, signal).toMatchObject({
        slot,
        signal: signal === 'SIGIO' ? expect.stringMatching(/^SIG(IO|POLL)$/) : signal,
      })
      await launcher.when('another serves', ({ slots }) => {
        const worker = slots[slot]?.worker
        return worker?.state === 'serving' && worker.pid !== pid
      })
      expect(clients.failures.length - lost, `${signal} ${clients.failures.at(-1)}`).toBeLessThanOrEqual(clients.size)
    }
    const { failures } = await clients.stop()
    for (const failure of failures) expect(failure).toMatch(/ECONNRESET|socket hang up/)
    await launcher.stop()
  })

  test('that a signal does not concern serves on (K-07)', async () => {
    const { launcher, port } = await start(1)
    const clients = new Clients(port, 1)
    const [pid] = (await launcher.pids()) as [number]
    for (const signal of rowsOf('worker', 'no effect')) {
      process.kill(pid, signal)
      await answersOf(port, pid)
      expect(factsOf(pid)?.state, signal).not.toBe('T')
    }
    for (const signal of rowsOf('worker', 'inspector')) {
      process.kill(pid, signal)
      await until('Node opens its inspector', () =>
        launcher.errors.some((line) => line.startsWith('Debugger listening')),
      )
      await answersOf(port, pid)
    }
    expect(await launcher.pids()).toEqual([pid])
    expect((await clients.stop()).failures).toEqual([])
    await launcher.stop()
  })

  test.each(rowsOf('worker', 'stands still'))(
    '%s: its sibling accepts for it; SIGCONT, and it goes on (A-14)',
    async (signal) => {
      const { launcher, port } = await start(2, '--hang-timeout', '200ms')
      const pids = (await launcher.pids()) as [number, number]
      process.kill(pids[0], signal)
      await launcher.event('worker.stuck', ({ workerPid }) => workerPid === pids[0])
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask(port)))
      expect(new Set(answers)).toEqual(new Set([String(pids[1])]))
      process.kill(pids[0], 'SIGCONT')
      await launcher.event('worker.back', ({ workerPid }) => workerPid === pids[0])
      await answersOf(port, pids[0])
      expect(await launcher.pids()).toEqual(pids)
      await launcher.stop()
    },
  )
})
