import { type ChannelListener, subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Http2Server, ServerHttp2Stream } from 'node:http2'

/** Node's own notice of every HTTP/1 response that is out; costs nothing while nobody listens. */
const FINISHED = 'http.server.response.finish'

/** Counts the HTTP answers of some servers, and says so again and again. Nothing of it is left when it has stopped. */
export class Answers {
  readonly #servers: ReadonlySet<object>
  readonly #http2: readonly Http2Server[]
  readonly #timer: NodeJS.Timeout
  #responses = 0
  #errors = 0
  #said = 0

  constructor(servers: readonly object[], everyMs: number, say: (responses: number, errors: number) => void) {
    this.#servers = new Set(servers)
    this.#http2 = servers.filter(isHttp2)
    subscribe(FINISHED, this.#finished)
    for (const server of this.#http2) server.on('stream', this.#streamed)
    this.#timer = setInterval(() => {
      if (this.#said === this.#responses) return
      this.#said = this.#responses
      say(this.#responses, this.#errors)
    }, everyMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    unsubscribe(FINISHED, this.#finished)
    for (const server of this.#http2) server.off('stream', this.#streamed)
  }

  readonly #finished: ChannelListener = (message) => {
    const { server, response } = message as { server: object; response: { statusCode: number } }
    if (this.#servers.has(server)) this.#count(response.statusCode)
  }

  readonly #streamed = (stream: ServerHttp2Stream): void => {
    stream.once('close', () => {
      const status = stream.sentHeaders?.[':status']
      if (status !== undefined) this.#count(Number(status))
    })
  }

  #count(status: number): void {
    this.#responses += 1
    if (status >= 500) this.#errors += 1
  }
}

function isHttp2(server: object): server is Http2Server {
  return typeof (server as { updateSettings?: unknown }).updateSettings === 'function'
}
