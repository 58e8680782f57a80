import { closeSync, fstatSync, readSync, writeSync } from 'node:fs'
import type { LauncherVersion } from '../../control-protocol.js'
import { native } from '../../native.js'
import type { LauncherOptions } from '../../options.js'
import type { State } from '../brain/state.js'
import { step } from '../brain/step.js'
import { SAVED_CHANNELS, type SavedChannels } from '../channels.js'
import { SAVED_CONTROL, type SavedControl } from '../control.js'
import type { SavedForeign } from '../foreign.js'
import { SAVED_HANDS, type SavedHands } from '../hands.js'
import type { SavedHttp } from '../http/servers.js'
import type { SavedProber } from '../probe/prober.js'
import { SAVED_PROCESSES, type SavedProcesses } from '../processes.js'
import type { SavedService } from '../service/service-manager.js'
import {
  type Check,
  fieldsOf,
  isAnything,
  isCountOfWorkers,
  isFd,
  isFlag,
  isNumber,
  isText,
  isWhole,
  listOf,
  oneOf,
  orAbsent,
  orNull,
  pairsOf,
  recordOf,
} from '../shape.js'
import { SAVED_SOCKETS, type SavedSockets } from '../sockets.js'
import { SAVED_SPECS, type SavedSpecs } from '../specs.js'
import { SAVED_TIMERS, type SavedTimers } from '../timers.js'
import { SAVED_VERDICTS, type SavedVerdicts } from '../verdicts.js'

/**
 * Grows with every change of what is saved, also of the brain's state. Older ones that are still read are in test/fixtures/upgrade-state,
 * each with the version that wrote it.
 */
export const IMAGE_VERSION = 1

/** Everything that a launcher is, as another image of its process goes on with it. Descriptors stay open under their numbers. */
export interface Image {
  readonly version: typeof IMAGE_VERSION
  readonly pid: number
  /** By which launcher it was written, and when (clock.ts). */
  readonly by: LauncherVersion
  readonly at: number
  /** LD_PRELOAD as the user has it. */
  readonly ldPreload: string | null
  /** Those that are in force; null: undefined. */
  readonly options: SavedOptions
  /** Which of these the config file says otherwise, in words. */
  readonly kept: string | null
  /** Its directory in the runtime directory, and the lock of it. */
  readonly directory: string
  readonly lock: number
  readonly startedAt: string
  readonly state: State
  readonly specs: SavedSpecs
  readonly verdicts: SavedVerdicts
  readonly timers: SavedTimers
  readonly sockets: SavedSockets
  readonly processes: SavedProcesses
  readonly channels: SavedChannels | null
  readonly foreign: SavedForeign | null
  readonly notify: number | null
  readonly prober: SavedProber
  /** Workers that are warmed up. */
  readonly warmUps: readonly number[]
  /** Who has started us, if he wants to know how we stand. */
  readonly service: SavedService | null
  readonly hands: SavedHands
  readonly control: SavedControl
  /** What it says by HTTP of its own. */
  readonly http: SavedHttp | null
  readonly signals: SavedSignals
  /** What is still to be written to stderr, in base64. */
  readonly stderr: string
  /** The same of stdout, where the lines of workers go through us. */
  readonly stdout?: string
}

// Here, since only some options load what is saved by them.
const SAVED_FOREIGN: Check = fieldsOf({
  timers: pairsOf(isWhole, isNumber),
  doors: pairsOf(isWhole, fieldsOf({ fd: isFd, host: isText, port: isWhole })),
})
const SAVED_HTTP: Check = fieldsOf({
  servers: listOf(fieldsOf({ address: isText, fd: isFd, clients: listOf(isFd) })),
})
const SAVED_SERVICE: Check = fieldsOf({
  variables: recordOf(isText),
  view: orNull(fieldsOf({ phase: isText, reload: isWhole, isReloading: isFlag, text: isText })),
  store: orNull(
    fieldsOf({
      orders: pairsOf(isText, listOf(isWhole)),
      names: pairsOf(isText, isText),
      leaving: listOf(isText),
    }),
  ),
})
const SAVED_PROBER: Check = pairsOf(
  isWhole,
  fieldsOf({ bakedAt: orNull(isNumber), attempts: isWhole, successes: isWhole, failures: isWhole }),
)

/** What the rules of the brain look at before all else. What is deeper shows when they look at it. */
const STATE: Check = fieldsOf({
  phase: oneOf('starting', 'running', 'stopping', 'stopped'),
  settings: recordOf(isAnything),
  term: isWhole,
  working: orNull(isWhole),
  generations: recordOf(fieldsOf({ number: isWhole, state: isText, listeners: listOf(isText) })),
  workers: recordOf(
    fieldsOf({
      id: isWhole,
      slot: isWhole,
      generation: isWhole,
      state: isText,
      claims: recordOf(fieldsOf({ listener: isText })),
      orders: recordOf(isText),
    }),
  ),
  listeners: recordOf(fieldsOf({ key: isText, sockets: recordOf(isText), order: listOf(isWhole) })),
  scale: orNull(fieldsOf({ to: isCountOfWorkers })),
  slots: listOf(fieldsOf({ working: orNull(isWhole), term: isWhole, pausing: isFlag })),
  parked: recordOf(fieldsOf({ step: isText })),
  run: orNull(fieldsOf({ id: isWhole, from: isWhole, to: isWhole, callers: listOf(isAnything) })),
  waiting: orNull(listOf(isAnything)),
  retiring: listOf(fieldsOf({ id: isWhole })),
  upgrade: orNull(fieldsOf({ callers: listOf(isWhole), reload: isFlag })),
  next: fieldsOf({ worker: isWhole, generation: isWhole, seq: isWhole, run: isWhole }),
})

export interface SavedSignals {
  /** There was a controlling terminal at the start. */
  readonly hadTerminal: boolean
  /** Presses of Ctrl-C so far. */
  readonly interrupts: number
}

const IMAGE: Check = fieldsOf({
  pid: isWhole,
  by: fieldsOf({ version: isText, node: isText }),
  at: isNumber,
  ldPreload: orNull(isText),
  options: fieldsOf({
    name: isText,
    command: listOf(isText),
    workers: isWhole,
    listen: listOf(isAnything),
    logFormat: isText,
  }),
  kept: orNull(isText),
  directory: isText,
  lock: isFd,
  startedAt: isText,
  state: STATE,
  specs: SAVED_SPECS,
  verdicts: SAVED_VERDICTS,
  timers: SAVED_TIMERS,
  sockets: SAVED_SOCKETS,
  processes: SAVED_PROCESSES,
  channels: orNull(SAVED_CHANNELS),
  foreign: orNull(SAVED_FOREIGN),
  notify: orNull(isFd),
  prober: SAVED_PROBER,
  warmUps: listOf(isWhole),
  service: orNull(SAVED_SERVICE),
  hands: SAVED_HANDS,
  control: SAVED_CONTROL,
  http: orNull(SAVED_HTTP),
  signals: fieldsOf({ hadTerminal: isFlag, interrupts: isWhole }),
  stderr: isText,
  stdout: orAbsent(isText),
})

/** JSON has no undefined. */
export type SavedOptions = Readonly<Record<keyof LauncherOptions, unknown>>

export function saveOptions(options: LauncherOptions): SavedOptions {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [name, value ?? null])) as SavedOptions
}

export function optionsOf({ options }: Image): Partial<LauncherOptions> {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [name, value ?? undefined]))
}

/** A thousand workers with a long environment each are a tenth of it. */
const MOST_BYTES = 256 * 1024 * 1024

/** Throws what is wrong with it, in words. */
export function parseImage(text: string): Image {
  let image: unknown
  try {
    image = JSON.parse(text)
  } catch (error) {
    throw new Error(`the state is no JSON: ${(error as Error).message}`)
  }
  const { version, by } = (image ?? {}) as { version?: unknown; by?: Partial<LauncherVersion> }
  if (version !== IMAGE_VERSION)
    throw new Error(
      `the state is of version ${String(version)}, written by reuseport-run ${String(by?.version)}; this one reads version ${IMAGE_VERSION}`,
    )
  const wrong = IMAGE(image, 'state')
  if (wrong !== null) throw new Error(`the state makes no sense: ${wrong}`)
  const read = image as Image
  try {
    // An event that means nothing: every standing rule looks at everything, and nothing of it is done.
    step(read.state, { type: 'timer', id: 'park:-1', at: read.at })
  } catch (error) {
    throw new Error(`the rules cannot read the state: ${(error as Error).message}`)
  }
  return read
}

/** Descriptors that must stay open. */
export function descriptorsOf(image: Image): number[] {
  const { lock, sockets, processes, channels, foreign, notify, control, http } = image
  return [
    lock,
    ...[...sockets.given, ...sockets.stored].map(({ fd }) => fd),
    ...sockets.owned.map(([, { fd }]) => fd),
    ...processes.all.flatMap(({ spawned, agent, stderr, stdout }) =>
      [spawned, agent?.pidfd, stderr, stdout?.reader].flatMap((fd) => fd ?? []),
    ),
    ...(channels === null
      ? []
      : [channels.fd, ...channels.all.flatMap(({ fd, unsent }) => [fd, ...unsent.flatMap(({ fds }) => fds)])]),
    ...(foreign?.doors.map(([, { fd }]) => fd) ?? []),
    ...(notify === null ? [] : [notify]),
    control.fd,
    ...control.clients.map(({ fd }) => fd),
    ...(http?.servers.flatMap(({ fd, clients }) => [fd, ...clients]) ?? []),
  ]
}

/** As a file in memory: gives its descriptor, which is close-on-exec. */
export function writeImage(image: Image): number {
  const fd = native().memoryFile('reuseport-run-state')
  const data = Buffer.from(JSON.stringify(image))
  try {
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at, data.length - at, at)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

export function readImage(fd: number): Image {
  const { size } = fstatSync(fd)
  if (size > MOST_BYTES) throw new Error(`the state has ${size} bytes`)
  const data = Buffer.alloc(size)
  let length = 0
  for (let more = -1; more !== 0 && length < size; length += more)
    more = readSync(fd, data, length, size - length, length)
  return parseImage(data.toString('utf8', 0, length))
}
