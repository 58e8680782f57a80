import type { Server } from 'node:http'
import { clearTimeout, setTimeout } from 'node:timers'
import type { HttpSocket } from '../drain/last-response.js'
import { type Adopted, patienceMs } from './adopted.js'

/** Node's timer of a socket, with what it keeps in it (the same in 20, 22, 24, 26). */
interface SocketTimer {
  /** On the clock of the event loop. */
  readonly _idleStart: number
  readonly _idleTimeout: number
}

/**
 * How long a server would have waited for the next request of an idle connection, so that the next one waits no longer and no shorter. null:
 * for ever. `now`: loopNow(). Of one without a first request it is all of its time: Node tells nobody since when it is open.
 */
export function leftMs(socket: HttpSocket, server: Server, adopted: Adopted, now: number): number | null {
  const left = adopted.leftMs(socket)
  if (left !== undefined) return left
  const timer = timerOf(socket)
  if (timer !== undefined) return Math.max(0, timer._idleStart + timer._idleTimeout - now)
  if (socket.bytesRead > 0) return null
  const patience = patienceMs(server)
  return Number.isFinite(patience) ? patience : null
}

/** Node's own, the same for every socket. */
let ofTimer: symbol | undefined

/** Set by `socket.setTimeout`: after a response by Node (keepAliveTimeout), or by the program. */
function timerOf(socket: HttpSocket): SocketTimer | undefined {
  ofTimer ??= Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout')
  const timer = ofTimer === undefined ? undefined : (socket as unknown as Record<symbol, SocketTimer | null>)[ofTimer]
  return timer != null && timer._idleTimeout > 0 ? timer : undefined
}

/** The clock that timers start by has no name, but each new one has read it. */
export function loopNow(): number {
  const timer = setTimeout(() => {}, 1)
  clearTimeout(timer)
  return (timer as unknown as SocketTimer)._idleStart
}
