import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { connectionsOf, socketsOf } from '../migrate/idle.js'
import { compatible, isEventStream, streamsOf } from './census.js'
import { sessionsOn } from './http2.js'
import type { HttpSocket, Response } from './last-response.js'
import type { ServerDrain } from './server-drain.js'

/**
 * The deadline of what a response is still being sent for. An event stream has an end that its client understands: it comes back. Any other
 * answer that is ended like that would pass for whole; those are left to their connection, whose end tells that something is missing. Only
 * where the end of the connection is the end of the body (no length, no chunks) would it not: such a connection is reset.
 */
export class StreamDrain implements ServerDrain {
  readonly kind = 'sse'
  readonly #server: object

  constructor(server: object) {
    this.#server = server
  }

  begin(): void {}

  sweep(): number {
    return 0
  }

  closeIdle(): number {
    return 0
  }

  lastCall(): (HttpSocket | ServerHttp2Session)[] {
    const ended = this.#answered().filter(({ _httpMessage: response }) => isEventStream(response))
    for (const { _httpMessage } of ended) {
      const response = _httpMessage as Response
      // Its head may have promised to keep the connection: the client would come back on it.
      response._last = true
      endForGood(response)
    }
    return [...ended, ...this.#endHttp2()]
  }

  cut(): void {
    for (const socket of this.#answered()) if (endsWithConnection(socket._httpMessage as Response)) reset(socket)
  }

  end(): void {}

  /** Connections whose answer has begun. */
  #answered(): HttpSocket[] {
    const list = connectionsOf(this.#server)
    return list === undefined ? [] : socketsOf(list.all()).filter((socket) => socket._httpMessage?.headersSent)
  }

  #endHttp2(): ServerHttp2Session[] {
    const told: ServerHttp2Session[] = []
    for (const session of sessionsOn(this.#server)) {
      const streams = streamsOf(session).filter((stream) => isEvents(stream))
      for (const stream of streams) endForGood(compatible<Writable>(stream, 'response') ?? stream)
      if (streams.length > 0) told.push(session)
    }
    return told
  }
}

function isEvents({ sentHeaders }: ServerHttp2Stream): boolean {
  return /^text\/event-stream/i.test(String(sentHeaders?.['content-type'] ?? ''))
}

/** By the program's own way, which may compress. What it writes later is dropped: an error of it could end the process. */
function endForGood(response: Writable): void {
  response.end()
  const drop = (...args: unknown[]): true => {
    const done = args.find((one): one is () => void => typeof one === 'function')
    if (done !== undefined) process.nextTick(done)
    return true
  }
  Object.assign(response, {
    write: drop,
    end: (...args: unknown[]) => {
      drop(...args)
      return response
    },
  })
}

function endsWithConnection({ _header: head, _hasBody: hasBody, chunkedEncoding }: Response): boolean {
  return hasBody && !chunkedEncoding && !/^content-length:/im.test(head ?? '')
}

/** Of a TLS connection it is the one below: an end without TLS's own last word is taken for a whole answer by many clients. */
function reset(socket: HttpSocket): void {
  const { _handle: handle } = socket as unknown as { _handle?: { _parentWrap?: Socket } | null }
  try {
    ;(handle?._parentWrap ?? socket).resetAndDestroy()
  } catch {
    // Over something that cannot be reset.
  }
  socket.destroy()
}
