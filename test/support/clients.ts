import { Agent, get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'

interface AskOptions {
  readonly agent?: Agent
  readonly socketPath?: string
  /** Of a connection over TCP. */
  readonly localAddress?: string
}

/** One request over a connection of its own, or of the agent's; rejects with the socket's error. */
export async function ask(port: number, path = '/', options: AskOptions = {}): Promise<string> {
  return (await request(port, path, options)).text
}

/** `isReused`: over a connection that had been used before. */
function request(port: number, path: string, options: AskOptions): Promise<{ text: string; isReused: boolean }> {
  return new Promise((done, fail) => {
    const { agent, socketPath, localAddress } = options
    const where = socketPath === undefined ? { host: '127.0.0.1', port, localAddress } : { socketPath }
    const call = get({ ...where, path, agent: agent ?? false }, (response) =>
      body(response).then((text) => done({ text, isReused: call.reusedSocket }), fail),
    )
    call.on('error', fail)
  })
}

export async function askJson<T>(port: number, path: string): Promise<T> {
  return JSON.parse(await ask(port, path)) as T
}

async function body(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

export interface InHand {
  /** The worker that has it. */
  readonly pid: number
  /** The whole text, or the errno of its end. */
  readonly answer: Promise<string>
}

/** A request that has reached its worker: the first bytes of the answer are here, the rest takes `ms`. */
export function inHand(port: number, ms: number): Promise<InHand> {
  return new Promise((begun, fail) => {
    const call = get({ host: '127.0.0.1', port, path: `/slow?ms=${ms}`, agent: false }, (response) => {
      let text = ''
      const answer = new Promise<string>((done) => {
        response.on('end', () => done(text))
        response.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? String(error)))
      })
      response.on('data', (data) => {
        text += data
        begun({ pid: Number.parseInt(text, 10), answer })
      })
    })
    call.on('error', fail)
  })
}

/** The errno of a fresh connect, or 'connected'. */
export function tryConnect(port: number, host = '127.0.0.1'): Promise<string> {
  return new Promise((done) => {
    const socket = connect(port, host, () => {
      socket.destroy()
      done('connected')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? String(error)))
  })
}

/**
 * Strict clients that ask all the time and never retry: half of them with a connection per request, half over connections that are
 * kept; or all of them with one per request. Light enough to run beside other tests; what they see is the proof that nobody else noticed anything.
 */
export class Clients {
  readonly failures: string[] = []
  readonly answers: Map<string, number> = new Map()
  /** First answers of connections, as they came: each worker that is in here has accepted. */
  readonly opened: string[] = []
  count = 0
  #kept = 0
  readonly #loops: Promise<void>[]
  #isStopped = false

  readonly #keeps: boolean

  constructor(port: number, each = 2, keeps = true) {
    this.#keeps = keeps
    this.#loops = Array.from({ length: each * 2 }, (_, index) => this.#loop(port, keeps && index % 2 === 0))
  }

  /** Each client has one connection at a time: no more requests than this are on their way. */
  get size(): number {
    return this.#loops.length
  }

  /** Waits until so many more requests have been answered. */
  async more(requests: number): Promise<void> {
    const target = this.count + requests
    const deadline = Date.now() + 15_000
    while (this.count < target && this.failures.length === 0) {
      if (Date.now() > deadline) throw new Error(`only ${this.count} of ${target} requests were answered`)
      await new Promise((done) => setTimeout(done, 5))
    }
  }

  async stop(): Promise<{ failures: string[]; count: number }> {
    this.#isStopped = true
    await Promise.all(this.#loops)
    if (this.#keeps && this.count > 200 && this.#kept === 0) throw new Error('the server let no connection be kept')
    return { failures: this.failures, count: this.count }
  }

  async #loop(port: number, keep: boolean): Promise<void> {
    const agent = new Agent({ keepAlive: keep, maxSockets: 1 })
    while (!this.#isStopped) {
      try {
        const { text, isReused } = await request(port, '/', { agent })
        this.answers.set(text, (this.answers.get(text) ?? 0) + 1)
        if (isReused) this.#kept++
        else this.opened.push(text)
        this.count++
      } catch (error) {
        this.failures.push(String(error))
      }
      await new Promise((done) => setTimeout(done, 1))
    }
    agent.destroy()
  }
}
