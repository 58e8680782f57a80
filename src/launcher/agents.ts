import type { Held, ListenerKey, Speaks } from '../protocol.js'
import type { BrainOrder, ClaimAnswer } from './brain/events.js'
import type { Told } from './figure-files.js'

/**
 * Who speaks for the workers: their agents, by channels (channels.ts); or for programs that have none, a stand-in that knows what can be
 * done for them from outside (foreign.ts). To the brain they are the same.
 */
export interface Agents {
  /** Its process runs. */
  spawned(worker: number, pid: number): void
  /** A worker that another launcher has started, and that has offered itself, is this one. */
  join(offer: number, worker: number): void
  answer(worker: number, claim: string, answer: ClaimAnswer): void
  order(worker: number, seq: number, order: BrainOrder): void
  /** How a health check reaches this worker and no other. */
  wayTo(worker: number, port: number | undefined): Connect
  /** Gives a worker a connection that nobody else has. Returns what takes the order back. */
  hand(worker: number, port: number | undefined, fd: number, answered: (answer: HandAnswer) => void): () => void
  layLane(listener: ListenerKey, from: number, to: number): void
  /** What a worker that drains has in hand. */
  held(worker: number): Held
  /** The same of one that has ended. */
  lastWords(worker: number): Held
  /** What each worker has to do; missing: not known. `watchMs`: they are to count their HTTP answers until they are asked again, for so long. */
  loads(watchMs?: number): Promise<ReadonlyMap<number, Load>>
  /** From now on every worker counts what it answers, and writes what it knows of itself: told whenever it is read. */
  measure(tell: (told: Told) => void): void
  /** Has all of them do so now. Gives how many threads have not, within this time. */
  look(withinMs: number): Promise<number>
  /** PM2's message in place of the stop signal; `heard`: the program listens for it. */
  shutdown(worker: number, answered: (heard: boolean) => void): void
  /** Whether something of our own, which the brain does not know, waits for an answer. */
  readonly asks: boolean
  /** It gets none. */
  giveUpAsking(): void
  close(): void
}

/** What a worker has to do, as it says itself; null: it has not said so at once, or cannot. */
export interface Load {
  /** Open ones. */
  readonly connections: number | null
  /** HTTP answers since somebody watches. */
  readonly requests: number | null
  /** How long its event loop took to answer this question. */
  readonly lagMs: number | null
}

export type HandAnswer = { readonly speaks: Speaks } | { readonly error: string }

/** A connection whose other end only the worker in question gets. */
export interface Way {
  /** Ours; the caller's from then on. */
  readonly fd: number
  /** Stops waiting for the other end to be taken. */
  stop(): void
  /** Why it is not taken, most likely. */
  readonly whyNot: string
}

/** Makes one. `answered` is called once, later: it has been taken, and this is how to speak; or it will not be. Throws what the kernel says. */
export type Connect = (answered: (answer: HandAnswer) => void) => Way
