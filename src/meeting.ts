import type { Socket } from 'node:dgram'
import type { ListenAddress } from './protocol.js'

/**
 * Where the library in a program and the agent of its launcher find each other. They share no module: the program has a copy of this
 * package of its own, perhaps of another version, while the agent is the launcher's. So it is a property of globalThis, under this symbol
 * of the registry, one per thread; not enumerable, for programs that look there.
 */
export const MEETING: unique symbol = Symbol.for('reuseport-run.meeting')

/** Grows when something here changes its meaning; fields are only added within a version. */
export const MEETING_VERSION = 1

/** Of the registries that a program shares. A set of them, under this symbol of the registry, per thread; not enumerable. */
const REGISTRIES: unique symbol = Symbol.for('reuseport-run.registries')

/** A registry of prom-client, or of anything else that has this. */
export interface MetricsRegistry {
  getMetricsAsJSON(): Promise<readonly unknown[]> | readonly unknown[]
}

/** Those that the program shares: the library puts them there, the agent looks when it is asked. */
export function sharedRegistries(): Set<MetricsRegistry> {
  const here = globalThis as { [REGISTRIES]?: Set<MetricsRegistry> }
  if (here[REGISTRIES] === undefined) Object.defineProperty(here, REGISTRIES, { value: new Set() })
  return here[REGISTRIES] as Set<MetricsRegistry>
}

/** What the agent offers, from before the program's first line on. */
export interface Meeting {
  readonly version: number
  /** Before listen(): this server accepts nothing before the place's `ready()`. What becomes of it then is told to `fate`. */
  announce(server: object, fate?: Fate): Place
  /**
   * The bind() of a UDP socket, which receives nothing before the place's `ready()`. With a `generation` of null it is the caller's to do: the launcher
   * does not manage this address. Throws what bind() would. Not there: an agent that cannot.
   */
  bind?(socket: Socket, address: ListenAddress & { readonly kind: 'udp' }, fate: Fate): Place
  /** That listen() has come to its end, whichever: the next one of this server is like any other. */
  forget(server: object): void
}

/** What an announced server is told of itself. None of these calls the program. */
export interface Fate {
  /** It accepts no more, and what is open has this long. Again when that changes. */
  draining(deadlineMs: number, hasSuccessor: boolean): void
  /** It accepts again, what it was told before is over. */
  resumed(): void
  /** The last connection of this process has ended, or was cut at the deadline. */
  drained(counts: DrainCounts): void
}

/** What has become of the connections of a process. */
export interface DrainCounts {
  /** Went on in another process, unnoticed. */
  readonly moved: number
  /** Ended with a last answer, or by the client. */
  readonly ended: number
  /** Idle ones that were closed after the linger. */
  readonly closed: number
  /** Open at the deadline. */
  readonly cut: number
}

/** What becomes of an announced server: known when it listens. */
export interface Place {
  /** Of the worker; null: the launcher does not manage this listener. */
  readonly generation: number | null
  ready(): void
}
