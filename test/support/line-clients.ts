import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

/** Clients of test/fixtures/servers/lines.cjs: one question after the other, a new connection after each 'bye'. What is not answered is a failure. */
export class LineClients {
  readonly failures: string[] = []
  answers = 0
  byes = 0
  /** Clients that have been answered by this process last. */
  readonly #by = new Map<number, string>()
  readonly #loops: Promise<void>[]
  #isStopped = false

  constructor(port: number, count: number) {
    this.#loops = Array.from({ length: count }, (_, index) => this.#loop(port, index))
  }

  /** All clients have been answered by one of these last. */
  areWith(pids: readonly number[]): boolean {
    return this.#by.size === this.#loops.length && [...this.#by.values()].every((pid) => pids.includes(Number(pid)))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#loops)
  }

  async #loop(port: number, index: number): Promise<void> {
    while (!this.#isStopped) {
      try {
        const socket = connect(port)
        await once(socket, 'connect')
        await this.#talk(socket, index)
      } catch (error) {
        this.failures.push(String(error))
        return
      }
    }
  }

  async #talk(socket: Socket, index: number): Promise<void> {
    const closed = new Promise((done) => socket.once('close', done))
    socket.on('error', () => {})
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
    let isLast = false
    while (!isLast && !this.#isStopped) {
      socket.write('?\n')
      let line = await lines.next()
      if (line.value === 'bye') {
        this.byes++
        isLast = true
        line = await lines.next()
      }
      if (line.done === true) throw new Error('closed without an answer')
      this.answers++
      this.#by.set(index, line.value)
      await new Promise((done) => setTimeout(done, Math.random() * 20))
    }
    socket.end()
    await closed
  }
}
