import { monitorEventLoopDelay } from 'node:perf_hooks'
import { expect } from 'vitest'
import type { Verdict } from '../../src/control-protocol'
import { ask, Clients } from './clients'
import { type Run, runCli, type TestLauncher } from './launcher'
import { accepts, descriptorsOf, isAlive, listeningInodes } from './processes'
import { until } from './until'
import type { Versions } from './versions'

/** A launcher that serves on `port`, and what is deployed next. */
export interface Scene {
  readonly launcher: TestLauncher
  readonly port: number
  readonly versions: Versions
  /** Puts a good version there, and says what it answers to /version. Default: `good-again` is deployed. */
  readonly repair?: () => string
}

/** What an undo may cost. */
export interface Price {
  /** Requests that died with a worker of the new version. */
  readonly lost: number
  /** From the fault to the last old worker's word that it accepts, by the launcher's own clock, on a machine that has time for it. */
  readonly ms: number
}

/**
 * The deployed version is refused before it serves: exit code 4 and the reason on stderr, no client notices anything, both old workers
 * accept all the time. The next good one is as good as ever, and nothing is left open.
 */
export async function expectRefused(scene: Scene, refused: Partial<Verdict>): Promise<void> {
  const { launcher, port } = scene
  const clients = new Clients(port)
  const [pids, inodes, fds] = [await launcher.pids(), listeningInodes(port), await quietFds(launcher)]
  expect(inodes).toHaveLength(pids.length)

  const from = clients.opened.length
  const watch = new AcceptWatch(pids, inodes)
  const run = await reload(scene)
  const opened = new Set(clients.opened.slice(from))
  expect(await watch.stop()).toEqual([])
  const { workers } = await expectFailure(scene, run, { result: 'aborted', undo: null, ...refused })
  expect([...opened].map(Number).sort()).toEqual([...pids].sort())
  // Not even for a moment between two looks, by the launcher's word.
  for (const { ms } of workers) expect(ms).not.toHaveProperty('paused')
  expect(await launcher.pids()).toEqual(pids)

  await expectGood(scene, inodes, 'retired')
  expect((await clients.stop()).failures).toEqual([])
  await hasNoMoreFds(launcher, fds)
  await launcher.stop()
}

/**
 * The deployed version serves, and is undone in its bake: exit code 4 and the reason on stderr, the same old workers accept again. Lost
 * is at most what a dead worker had in hand. The next good one is as good as ever.
 */
export async function expectUndone(
  scene: Scene,
  undone: Partial<Verdict>,
  price: (clients: Clients) => Price,
): Promise<void> {
  const { launcher, port } = scene
  const clients = new Clients(port)
  const [pids, inodes] = [await launcher.pids(), listeningInodes(port)]

  const running = reload(scene)
  await launcher.event('reload.baking')
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const run = await running
  delay.disable()
  // The answer comes when they have said that they accept.
  expect(pids.filter((pid) => !accepts(pid, inodes))).toEqual([])
  const { undo, workers } = await expectFailure(scene, run, { result: 'undone', step: 'bake', ...undone })
  const { lost, ms: limit } = price(clients)
  // What a machine with too much to do keeps everybody waiting is not the launcher's.
  const wait = delay.max / 1e6
  expect(undo?.ms).toBeLessThanOrEqual(limit + wait)
  for (const { ms } of workers) expect(ms.resumed).toBeGreaterThan(ms.paused as number)
  expect(await launcher.pids()).toEqual(pids)
  await bothAnswer(port, pids)
  await launcher.when('the new ones have gone', ({ generations }) => generations.length === 1)

  await expectGood(scene, inodes, 'admitted')
  const { failures } = await clients.stop()
  expect(failures.filter((failure) => !wasInHand(failure))).toEqual([])
  expect(failures.length).toBeLessThanOrEqual(lost)
  await launcher.stop()
}

/** A failure that a killed worker explains: it had this connection in hand. */
export const wasInHand = (failure: string): boolean => /ECONNRESET|socket hang up/.test(failure)

/** All of these answer new connections, and nobody else does. */
export async function bothAnswer(port: number, pids: readonly number[]): Promise<void> {
  await until('both answer', async () => {
    const seen = new Set(await Promise.all(Array.from({ length: 20 }, () => ask(port))))
    return pids.every((pid) => seen.has(String(pid))) && seen.size === pids.length
  })
}

/** The command line, asked from elsewhere: the launcher's own directory may be what is bad. */
function reload({ launcher }: Scene, ...words: string[]): Promise<Run> {
  return runCli(['reload', '--runtime-dir', launcher.runtimeDir, '--name', launcher.name, ...words])
}

async function expectFailure({ launcher }: Scene, run: Run, expected: Partial<Verdict>): Promise<Verdict> {
  const verdict = (await launcher.status()).lastReload as Verdict
  expect(verdict).toMatchObject(expected)
  expect(run).toMatchObject({ code: 4, stdout: '' })
  const lines = [`reload ${verdict.result} in step ${verdict.step}: ${verdict.reason}`]
  for (const line of verdict.stderr) lines.push(`    | ${line}`)
  expect(run.stderr.split('\n').slice(0, lines.length)).toEqual(lines)
  return verdict
}

async function expectGood(scene: Scene, inodes: readonly number[], wait: string): Promise<void> {
  const { launcher, port, versions, repair = () => versions.deploy('good-again') } = scene
  const bad = await launcher.pids()
  const version = repair()
  expect(await reload(scene, '--wait', wait)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^generation 3 serves; generation 1 /),
    stderr: '',
  })
  expect(await ask(port, '/version')).toBe(version)
  expect((await launcher.pids()).filter((pid) => bad.includes(pid))).toEqual([])
  expect(listeningInodes(port)).toEqual(inodes)
}

/** Looks all the time whether each of these workers accepts. */
class AcceptWatch {
  readonly #misses: string[] = []
  readonly #looking: Promise<void>
  #looks = 0
  #isOver = false

  constructor(pids: readonly number[], inodes: readonly number[]) {
    this.#looking = (async () => {
      do {
        for (const pid of pids)
          if (!isAlive(pid) || !accepts(pid, inodes)) this.#misses.push(`look ${this.#looks}: ${pid}`)
        this.#looks++
        await new Promise((done) => setTimeout(done, 5))
      } while (!this.#isOver)
    })()
  }

  /** Every moment at which one did not. */
  async stop(): Promise<readonly string[]> {
    this.#isOver = true
    await this.#looking
    expect(this.#looks).toBeGreaterThan(5)
    return this.#misses
  }
}

/** Nothing is on its way: the killed candidates are reaped. */
async function isQuiet(launcher: TestLauncher): Promise<void> {
  const { generations } = await launcher.when('one generation', ({ generations: all }) => all.length === 1)
  expect(generations[0]?.state).toBe('working')
}

const fdsOf = ({ pid }: TestLauncher): string[] => [...descriptorsOf(pid).values()]

/** Descriptors of the launcher: the fewest of some looks, as the connection of a status may just be closing. */
async function quietFds(launcher: TestLauncher): Promise<number> {
  await isQuiet(launcher)
  let [least, looks] = [Number.POSITIVE_INFINITY, 0]
  return until('some looks', async () => {
    least = Math.min(least, fdsOf(launcher).length)
    await new Promise((done) => setTimeout(done, 10))
    return ++looks >= 5 && least
  })
}

async function hasNoMoreFds(launcher: TestLauncher, before: number): Promise<void> {
  await isQuiet(launcher)
  await until(
    () => `${before} descriptors as before: ${fdsOf(launcher).sort().join(', ')}`,
    () => fdsOf(launcher).length <= before,
  )
}
