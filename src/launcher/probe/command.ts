import { closeSync, openSync, readSync, rmSync } from 'node:fs'
import { constants } from 'node:os'
import { type Identity, type Native, native, type Poller, READABLE } from '../../native.js'
import type { HealthOptions } from '../../options.js'
import type { Answer } from './answer.js'
import type { Hand } from './attempt.js'

/** What of its output is shown: the end of it, where tools say what went wrong. */
const SHOWN_BYTES = 200
/** Connections that may wait while the launcher is busy with something else. */
const BACKLOG = 16

/** What a health command runs in and with. */
export interface CommandPlace {
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Of the worker that is asked about. */
  readonly pid: number
  readonly slot: number
  /** Where it reaches that worker, and no other. */
  readonly socket: string
  /** So that who runs as `identity` can connect to it. */
  letWorkersIn(socket: string): void
  /** As whom it runs; undefined: as we do. */
  readonly identity: Identity | undefined
  /** Tells the reaper of orphans that this child has somebody. Returns what ends that. */
  own(pid: number): () => void
}

/**
 * One run of the health command. It reaches the worker through a unix socket that is there for it alone: what connects to it is given to
 * the worker, as a check of ours would be. Owns socket, process, pipe and timer; after `done` or `stop` nothing is left but a process that
 * is being killed.
 */
export class CommandAttempt {
  readonly #native: Native = native()
  readonly #health: HealthOptions
  readonly #place: CommandPlace
  readonly #hand: Hand
  readonly #done: (answer: Answer) => void
  readonly #timer: NodeJS.Timeout
  readonly #stopWaiting: (() => void)[] = []
  readonly #watched: { fd: number; poller: Poller }[] = []
  #killIt: (() => void) | undefined
  #output = Buffer.alloc(0)
  #isOver = false

  constructor(health: HealthOptions, place: CommandPlace, hand: Hand, done: (answer: Answer) => void) {
    this.#health = health
    this.#place = place
    this.#hand = hand
    this.#done = done
    this.#timer = setTimeout(
      () => this.#end(`its health command did not end within ${health.timeoutMs} ms${this.#said()}`),
      health.timeoutMs,
    )
    try {
      this.#listen()
      this.#run()
    } catch (error) {
      setImmediate(() => this.#end(`its health command could not be run: ${(error as Error).message}`))
    }
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    for (const stop of this.#stopWaiting) stop()
    for (const { fd, poller } of this.#watched) {
      poller.close()
      this.#native.close(fd)
    }
    rmSync(this.#place.socket, { force: true })
    this.#killIt?.()
  }

  #end(answer: Answer): void {
    if (this.#isOver) return
    this.stop()
    this.#done(answer)
  }

  #listen(): void {
    rmSync(this.#place.socket, { force: true })
    const fd = this.#native.socket('unix', 'stream')
    this.#watch(fd, () => this.#accept(fd))
    this.#native.bindUnix(fd, this.#place.socket)
    this.#place.letWorkersIn(this.#place.socket)
    this.#native.listen(fd, BACKLOG)
  }

  #accept(listener: number): void {
    try {
      for (let fd = this.#native.accept(listener); fd !== null; fd = this.#native.accept(listener)) {
        try {
          // A worker that does not take it lets it fall: the command sees the end of its connection.
          this.#stopWaiting.push(this.#hand(fd, () => {}))
        } finally {
          this.#native.close(fd)
        }
      }
    } catch (error) {
      // No descriptor is left. What waits would wake us again and again.
      this.#end(`its health command cannot reach it: ${(error as Error).message}`)
    }
  }

  #run(): void {
    const { cwd, env, pid, slot, socket, identity, own } = this.#place
    const ours = { HEALTH_SOCKET: socket, HEALTH_PID: String(pid), HEALTH_SLOT: String(slot) }
    const [reader, writer] = this.#native.pipe(true)
    this.#watch(reader, () => this.#read(reader))
    const nothing = openSync('/dev/null', 'r')
    try {
      const child = this.#native.spawn({
        file: '/bin/sh',
        argv: ['sh', '-c', this.#health.target],
        env: Object.entries({ ...env, ...ours }).map(([name, value]) => `${name}=${value}`),
        cwd,
        ...(identity === undefined ? {} : { identity }),
        stdio: [nothing, writer, writer],
      })
      this.#follow(child.pid, child.pidfd, own(child.pid), reader)
    } finally {
      closeSync(nothing)
      closeSync(writer)
    }
  }

  /** Until it has been reaped, whatever becomes of the attempt. */
  #follow(pid: number, pidfd: number, disown: () => void, reader: number): void {
    this.#killIt = () => this.#native.signalGroup(pid, constants.signals.SIGKILL)
    const poller = new this.#native.Poller(pidfd, () => {
      // Whatever it has left running goes with it; until it is reaped, the number of the group is surely its own.
      this.#killIt?.()
      const ending = this.#native.pidfdWait(pidfd)
      if (ending === null) return
      this.#killIt = undefined
      poller.close()
      this.#native.close(pidfd)
      disown()
      if (this.#isOver) return
      this.#read(reader)
      if (ending.code === 0) this.#end(null)
      else if (ending.code === null) this.#end(`its health command was ended by ${ending.signal}${this.#said()}`)
      else this.#end(`its health command exited with code ${ending.code}${this.#said()}`)
    })
    poller.start(READABLE)
  }

  #watch(fd: number, ready: () => void): void {
    const poller = new this.#native.Poller(fd, ready)
    this.#watched.push({ fd, poller })
    poller.start(READABLE)
  }

  /** Once per wake-up: a command that never stops writing ends with its time, and reads nothing of ours away meanwhile. */
  #read(reader: number): void {
    const chunk = Buffer.allocUnsafe(65_536)
    let length = 0
    try {
      length = readSync(reader, chunk)
    } catch {
      return // EAGAIN: nothing now.
    }
    if (length > 0) this.#output = Buffer.concat([this.#output, chunk.subarray(0, length)]).subarray(-SHOWN_BYTES)
    else this.#watched.find(({ fd }) => fd === reader)?.poller.start(0)
  }

  #said(): string {
    const text = this.#output.toString('utf8').trim()
    return text === '' ? '' : `: ${JSON.stringify(text)}`
  }
}
