import { Agent } from './agent.js'
import type { Handed } from './environment.js'
import type { ReadyMessage } from './ready-message.js'

/** This thread as one that may claim: its agent is there from its first claim on. */
export class Claimant {
  readonly #handed: Handed
  readonly #ready: ReadyMessage | undefined
  #claimed: (() => void) | undefined
  #agent: Agent | undefined

  /** `claimed` is called once, when this process is the worker. */
  constructor(handed: Handed, claimed: () => void, ready: ReadyMessage | undefined) {
    this.#handed = handed
    this.#claimed = claimed
    this.#ready = ready
  }

  /** Throws ERR_ADDON_NOT_FOUND. */
  get agent(): Agent {
    this.#agent ??= new Agent(this.#handed)
    return this.#agent
  }

  /** A claim was answered with a socket, or with why there is none. */
  claimed(): void {
    if (this.#claimed === undefined) return
    this.#ready?.whenSaid(() => this.#agent?.send({ type: 'ready' }))
    this.#claimed()
    this.#claimed = undefined
  }
}
