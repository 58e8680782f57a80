import cluster from 'node:cluster'
import { ReuseportError } from '../errors.js'
import {
  addressOf,
  type ClaimAnswer,
  DEFAULT_BACKLOG,
  type Listen,
  type ListenArguments,
  listenPrototype,
  listenWith,
} from '../serving/listen.js'
import type { Claimant } from './claimant.js'
import type { LibraryServers } from './library-servers.js'

let installed = false

/** From here on every `listen()` of this thread is claimed at the launcher. */
export function installListenHook(claimant: Claimant, library: LibraryServers): void {
  if (installed || cluster.isWorker) return
  installed = true
  const original = listenPrototype._listen2

  const listen: Listen = function (...args: ListenArguments) {
    const asked = addressOf(this, args)
    if (asked === undefined) {
      original.apply(this, args)
      return
    }

    const place = library.placeOf(this)
    let answer: ClaimAnswer
    try {
      answer = claimant.agent.claim(this, asked, args[3] || DEFAULT_BACKLOG, place)
    } catch (error) {
      if (!(error instanceof ReuseportError)) throw error
      // As Node's listen errors come: in the next tick, when the program has had the time to add its handler.
      process.nextTick(() => this.emit('error', error))
      return
    }
    if (answer.mode === 'plain') {
      original.apply(this, args)
      return
    }
    claimant.claimed()

    listenWith(this, original, args, asked, answer)
    if (answer.mode !== 'managed') return
    const { agent } = claimant
    if (place !== undefined) agent.fill(place, answer.claim)
    agent.announce(answer.claim)
  }
  listenPrototype._listen2 = listen
}
