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
import { Agent } from './agent.js'
import type { Handed } from './environment.js'
import type { LibraryServers } from './library-servers.js'
import type { ReadyMessage } from './ready-message.js'

let installed = false

/** From here on every `listen()` of this thread is claimed at the launcher. `claimed` is called once, when this process is the worker. */
export function installListenHook(
  handed: Handed,
  claimed: () => void,
  ready: ReadyMessage | undefined,
  library: LibraryServers,
): void {
  if (installed || cluster.isWorker) return
  installed = true
  const original = listenPrototype._listen2
  let agent: Agent | undefined
  let endPassingOn: (() => void) | undefined = claimed

  const listen: Listen = function (...args: ListenArguments) {
    const asked = addressOf(this, args)
    if (asked === undefined) {
      original.apply(this, args)
      return
    }

    const place = library.placeOf(this)
    let answer: ClaimAnswer
    try {
      agent ??= new Agent(handed)
      answer = agent.claim(this, asked, args[3] || DEFAULT_BACKLOG, place)
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
    if (endPassingOn !== undefined) ready?.whenSaid(() => agent?.send({ type: 'ready' }))
    endPassingOn?.()
    endPassingOn = undefined

    listenWith(this, original, args, asked, answer)
    if (answer.mode !== 'managed') return
    const { claim } = answer
    if (place !== undefined) {
      place.generation = agent.place?.generation ?? null
      place.ready = () => agent?.ready(claim)
    }
    agent.announce(claim)
  }
  listenPrototype._listen2 = listen
}
