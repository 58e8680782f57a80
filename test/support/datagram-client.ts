import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { until } from './until.js'

/** So many wait for an answer at most: they fit into the default buffer of a socket, whoever stands still. */
const WINDOW = 50

/**
 * Numbers its datagrams, never sends one again, and expects each of them back, behind the pid of who has answered: test/fixtures/worker/handover.cjs,
 * test/fixtures/servers/datagrams.cjs. What was not answered is lost. Its flows, each of a port of its own, take turns.
 */
export class DatagramClient {
  readonly answeredBy = new Map<number, number>()
  readonly twice: number[] = []
  /** By flow: who has answered last; 0: nobody. */
  readonly lastOf: number[] = []
  /** By flow: who has answered what. */
  readonly #answers: Map<number, number>[] = []
  sent = 0
  readonly #port: number
  readonly #flows: Socket[] = []
  /** By flow: the last number that was answered. */
  readonly #heardOf: number[] = []
  readonly #unanswered = new Set<number>()
  readonly #flowOf = new Map<number, number>()
  #isStopped = false

  constructor(port: number, flows = 1) {
    this.#port = port
    for (let flow = 0; flow < flows; flow++) this.add()
  }

  /** By flow: who was given its datagrams, one after the other, in the order in which they were sent. (Answers of two may overtake each other.) */
  get turns(): number[][] {
    return this.#answers.map((answers) => {
      const pids = [...answers].sort(([a], [b]) => a - b).map(([, pid]) => pid)
      return pids.filter((pid, index) => pid !== pids[index - 1])
    })
  }

  /** One more flow; its number. */
  add(): number {
    const flow = this.#flows.length
    const socket = createSocket('udp4')
    this.#flows.push(socket)
    this.#answers.push(new Map())
    this.#heardOf.push(-1)
    this.lastOf.push(0)
    // What is refused is not answered: it is lost.
    socket.on('error', () => {})
    socket.on('message', (data) => this.#heard(flow, String(data).split(' ').map(Number)))
    // It has begun when it can be sent by.
    socket.connect(this.#port, '127.0.0.1', () => this.#send(flow))
    return flow
  }

  /** What it sends now is answered by these processes, all of them. */
  async isWith(...pids: number[]): Promise<void> {
    const from = this.sent
    const isAnswered = (): boolean => this.#heardOf.every((number) => number >= from)
    const seen = (): string => `pids ${pids} answer, and not ${[...new Set(this.lastOf)]}`
    await until(seen, () => isAnswered() && this.lastOf.every((pid) => pids.includes(pid)))
  }

  /** Its numbers that were lost. */
  async stop(): Promise<number[]> {
    this.#isStopped = true
    await until('each is answered', () => this.#unanswered.size === 0).catch(() => {})
    for (const socket of this.#flows) {
      socket.close()
      await once(socket, 'close')
    }
    return [...this.#unanswered]
  }

  /** Each answer brings the next of its flow, so all of them have their share of what may wait. */
  #send(flow: number): void {
    const share = Math.max(1, Math.floor(WINDOW / this.#flows.length))
    let waiting = [...this.#unanswered].filter((number) => this.#flowOf.get(number) === flow).length
    for (; !this.#isStopped && waiting < share && this.#unanswered.size < WINDOW; waiting++) {
      const number = this.sent++
      this.#unanswered.add(number)
      this.#flowOf.set(number, flow)
      this.#flows[flow]?.send(String(number))
    }
  }

  #heard(flow: number, [pid = 0, number = 0]: number[]): void {
    this.lastOf[flow] = pid
    this.#answers[flow]?.set(number, pid)
    this.#heardOf[flow] = Math.max(this.#heardOf[flow] ?? 0, number)
    this.answeredBy.set(pid, (this.answeredBy.get(pid) ?? 0) + 1)
    if (!this.#unanswered.delete(number)) this.twice.push(number)
    this.#flowOf.delete(number)
    this.#send(flow)
  }
}
