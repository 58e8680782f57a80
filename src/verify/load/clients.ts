import type { LoadEnd } from './load-end.js'
import type { Ends } from './outcome.js'
import type { Recorder } from './recorder.js'

export interface ClientContext {
  readonly recorder: Recorder
  readonly connectTimeoutMs: number
  readonly responseTimeoutMs: number
  /** Bytes per read of a client that reads slowly, chosen so that the reference response takes about 300 ms. */
  readonly slowReadBytes: number
  /** From 0 to 1: the share of the longest think time that is taken. */
  readonly random: () => number
  readonly end: LoadEnd
}

export interface Asked {
  /** Size of the answer. */
  readonly bytes: number
  /** How the program itself ends such connections, if it has shown that. */
  readonly ends: Ends | null
}

/** What the clients of one kind do. */
export interface Clients {
  /** Names the request; kinds that ask for the same are tried once. */
  readonly asks: string
  /** One request before the load. Throws Unfit if it is not answered properly: there would be nothing to compare with. */
  ask(context: ClientContext): Promise<Asked>
  /** One client, which never retries, until the load ends. Calls back after each request. */
  run(context: ClientContext, kind: string, onRequest: () => void): Promise<void>
}

/** The request that was asked once before the load did not get a proper answer. */
export class Unfit extends Error {
  readonly request: string

  constructor(request: string, reason: string) {
    super(reason)
    this.request = request
  }
}
