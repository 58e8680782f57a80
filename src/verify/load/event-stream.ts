import { Socket } from 'node:net'
import { bucketOfRequestError } from './buckets.js'
import { monotonicMs } from './clock.js'
import { EventReader } from './event-reader.js'
import { openSocket } from './open-socket.js'
import { type Outcome, outcomeOf } from './outcome.js'
import { getEvents, type Target } from './request.js'
import { ResponseReader } from './response-reader.js'

export interface EventStreamOptions {
  readonly target: Target
  readonly path: string
  readonly lastId: string | null
  readonly connectTimeoutMs: number
  /** Until the head has come; the stream itself may be silent for as long as it likes. */
  readonly responseTimeoutMs: number
  onEvent(id: string | null): void
  /** The head has come. */
  onOpen(): void
}

/** How long a server may take to close after the stream's end. */
const CLOSE_TIMEOUT_MS = 2000

/** One event stream, from the request to its end, as one request: ok if it ended cleanly, or not before its client closed it. */
export class EventStream {
  /** Resolves when the socket is gone, too. */
  readonly gone: Promise<void>
  /** What became of it; `ended`: by the server. */
  readonly over: Promise<{ readonly outcome: Outcome; readonly ended: boolean; readonly lastId: string | null }>
  #isClosing = false
  #closeNow: () => void = () => undefined

  constructor(options: EventStreamOptions) {
    let leave: () => void = () => undefined
    this.gone = new Promise((resolve) => {
      leave = resolve
    })
    this.over = new Promise((resolve) => {
      const { target, path, connectTimeoutMs, responseTimeoutMs } = options
      const began = monotonicMs()
      const events = new EventReader(options.lastId, options.onEvent)
      const reader = new ResponseReader((bytes) => events.push(bytes))
      let outcome: Outcome | null = null
      let socket: Socket | null = null
      let timer: NodeJS.Timeout | undefined
      let isOpen = false
      const settle = (bucket: Outcome['bucket'], reason: string | null): void => {
        const { status, received } = reader
        outcome ??= outcomeOf(bucket, reason, began, {
          localPort: socket?.localPort ?? null,
          status: status === 0 ? null : status,
          bytesReceived: received,
        })
        clearTimeout(timer)
        // The server's to close, if it wants to: a word of ours after its last one would be answered with a reset.
        timer = setTimeout(closePolitely, CLOSE_TIMEOUT_MS)
        resolve({ outcome, ended: !this.#isClosing, lastId: events.lastId })
      }
      const closePolitely = (): void => {
        socket?.end()
        timer = setTimeout(() => socket?.destroy(), CLOSE_TIMEOUT_MS)
      }
      const onBytes = (bytes: Buffer): boolean => {
        // What still comes after the client's own end is read, so that closing sends no reset.
        if (outcome !== null) return true
        reader.push(bytes)
        const { problem, complete, status, contentType } = reader
        if (problem !== null) settle('bad-body', problem)
        else if (status !== 0 && !isOpen) {
          isOpen = true
          clearTimeout(timer)
          if (status !== 200) settle('bad-status', `status ${status}`)
          else options.onOpen()
          if (this.#isClosing) this.#closeNow()
        }
        if (complete && outcome === null) {
          if (/^text\/event-stream\b/i.test(contentType)) settle('ok', null)
          else settle('bad-body', `Content-Type is ${JSON.stringify(contentType)}`)
        }
        return true
      }
      openSocket({ target, connectTimeoutMs, onBytes }, (opened) => {
        if (!(opened instanceof Socket)) {
          resolve({ outcome: opened, ended: true, lastId: events.lastId })
          leave()
          return
        }
        socket = opened
        timer = setTimeout(() => {
          settle('response-timeout', `no head within ${responseTimeoutMs} ms`)
          opened.destroy()
        }, responseTimeoutMs)
        opened.on('end', () => {
          const end = reader.end()
          if (end === 'complete') settle('ok', null)
          else settle(end === 'nothing' ? 'closed-before-response' : 'truncated', 'end of file')
          opened.destroy()
        })
        opened.on('error', (error: NodeJS.ErrnoException) => {
          const code = error.code ?? error.message
          settle(bucketOfRequestError(code, reader.received > 0), code)
        })
        opened.once('close', () => {
          clearTimeout(timer)
          leave()
        })
        // Not before the head has come: what became of the request shall be known.
        this.#closeNow = () => {
          if (!isOpen) return
          settle('ok', null)
          clearTimeout(timer)
          closePolitely()
        }
        opened.write(getEvents(target, path, options.lastId).head)
      })
    })
  }

  /** The client has seen enough. */
  close(): void {
    this.#isClosing = true
    this.#closeNow()
  }
}
