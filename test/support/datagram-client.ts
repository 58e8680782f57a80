import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { until } from './until.js'

/** So many wait for an answer at most: they fit into the default buffer of a socket, whoever stands still. */
const WINDOW = 50

/**
 * Numbers its datagrams, never sends one again, and expects each of them back, behind the pid of who has answered: test/fixtures/worker/handover.cjs.
 * What was not answered is lost.
 */
export class DatagramClient {
  readonly answeredBy = new Map<number, number>()
  readonly twice: number[] = []
  sent = 0
  readonly #socket: Socket = createSocket('udp4')
  readonly #unanswered = new Set<number>()
  /** Who has answered last. */
  #last = 0
  #isStopped = false

  constructor(port: number) {
    this.#socket.on('message', (data) => this.#heard(String(data).split(' ').map(Number)))
    this.#socket.connect(port, '127.0.0.1', () => this.#send())
  }

  /** What it sends now is answered by this process. */
  async isWith(pid: number): Promise<void> {
    const from = this.sent
    await until(`pid ${pid} answers`, () => this.sent > from && this.#last === pid)
  }

  /** Its numbers that were lost. */
  async stop(): Promise<number[]> {
    this.#isStopped = true
    await until('each is answered', () => this.#unanswered.size === 0).catch(() => {})
    this.#socket.close()
    await once(this.#socket, 'close')
    return [...this.#unanswered]
  }

  #send(): void {
    while (!this.#isStopped && this.#unanswered.size < WINDOW) {
      const number = this.sent++
      this.#unanswered.add(number)
      this.#socket.send(String(number))
    }
  }

  #heard([pid = 0, number = 0]: number[]): void {
    this.#last = pid
    this.answeredBy.set(pid, (this.answeredBy.get(pid) ?? 0) + 1)
    if (!this.#unanswered.delete(number)) this.twice.push(number)
    this.#send()
  }
}
