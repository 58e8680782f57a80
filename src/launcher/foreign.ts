import { type InetAddress, native, WRITABLE } from '../native.js'
import type { Held, ListenAddress, ListenerKey } from '../protocol.js'
import type { Agents, Connect, HandAnswer, Load } from './agents.js'
import type { BrainOrder, ClaimAnswer, WorkerEvent } from './brain/events.js'
import { now } from './clock.js'
import { listenVariables, type NamedSocket } from './listen-fds.js'
import type { Handed } from './processes.js'
import type { Sockets } from './sockets.js'

/** Node's default; a program that calls listen(2) itself has the last word. */
const BACKLOG = 511

/** LISTEN_FDNAMES has it as the last one. */
const DOOR = 'health'
/** Connections that may wait at a door: checks of ours, one at a time. */
const DOOR_BACKLOG = 16
/** Whether a connection was accepted the kernel does not tell by itself. */
const LOOK_EVERY_MS = 10

/** A socket that only one worker accepts from: its neighbours share all others with it. */
interface Door {
  readonly fd: number
  readonly host: string
  readonly port: number
}

export interface SavedForeign {
  /** By worker: milliseconds until it counts as ready. */
  readonly timers: readonly (readonly [number, number])[]
  readonly doors: readonly (readonly [number, Door])[]
}

function openDoor(): Door {
  const addon = native()
  const fd = addon.socket('inet', 'stream')
  try {
    addon.bindInet(fd, '127.0.0.1', 0)
    addon.setNonBlocking(fd, false)
    addon.listen(fd, DOOR_BACKLOG)
    const { host, port } = addon.localAddress(fd) as InetAddress
    return { fd, host, port }
  } catch (error) {
    addon.close(fd)
    throw error
  }
}

/**
 * Stands in for the agents of programs that have none: any program, in any language, that is given its sockets from its start on. What it
 * was given it claims; and it answers orders as far as there is something that can be done from outside:
 *
 * - it serves as soon as it accepts: nobody can hold it, nor make it pause. Old and new accept from the same sockets meanwhile, which loses
 *   nothing;
 * - to drain is to get the stop signal: what that means for its connections only the program knows.
 */
export class Foreign implements Agents {
  readonly #sockets: Sockets
  readonly #listens: readonly NamedSocket[]
  readonly #aliveMs: number | undefined
  readonly #post: (event: WorkerEvent) => void
  readonly #stop: (worker: number) => void
  /** Of those that need only go on to be ready. */
  readonly #timers = new Map<number, { readonly timer: NodeJS.Timeout; readonly at: number }>()
  readonly #hasDoor: boolean
  /** By worker. */
  readonly #doors: Map<number, Door>

  constructor(options: {
    sockets: Sockets
    listens: readonly NamedSocket[]
    /** Health checks are asked for. */
    hasDoor: boolean
    /** Ready is who has not ended for so long; undefined: who says so. */
    aliveMs: number | undefined
    post: (event: WorkerEvent) => void
    /** The stop signal. */
    stop: (worker: number) => void
    /** Of another image of this process. */
    saved: SavedForeign | undefined
  }) {
    this.#sockets = options.sockets
    this.#listens = options.listens
    this.#aliveMs = options.aliveMs
    this.#hasDoor = options.hasDoor
    this.#post = options.post
    this.#stop = options.stop
    this.#doors = new Map(options.saved?.doors)
    for (const [worker, leftMs] of options.saved?.timers ?? []) this.#readyAfter(worker, leftMs)
  }

  readonly asks = false
  giveUpAsking(): void {}

  save(): SavedForeign {
    const timers = [...this.#timers].map(([worker, { at }]) => [worker, Math.max(0, at - now())] as const)
    return { timers, doors: [...this.#doors] }
  }

  /** The sockets of a slot: they listen. Makes those that are not there yet, and throws what `Sockets` does. */
  open(slot: number): number[] {
    this.#sockets.restorePaths()
    return this.#listens.map(({ address }) => this.#sockets.ready(address, slot, BACKLOG))
  }

  /** What a worker gets: the sockets of its slot, and behind them its door, if there is a health check. */
  handed(worker: number, slot: number, generation: number): Handed {
    const fds = this.open(slot)
    if (!this.#hasDoor) return { fds, variables: listenVariables(this.#listens, generation) }
    const door = openDoor()
    this.#doors.set(worker, door)
    const address: ListenAddress = { kind: 'tcp', host: door.host, port: door.port, ipv6Only: false }
    return {
      fds: [...fds, door.fd],
      variables: listenVariables([...this.#listens, { name: DOOR, address }], generation),
    }
  }

  /** They offer nothing. */
  join(): void {}

  spawned(worker: number, pid: number): void {
    this.#post({ type: 'hello', worker, pid })
    for (const [index, { address }] of this.#listens.entries())
      this.#post({ type: 'claim', worker, claim: String(index), address, backlog: BACKLOG })
    if (this.#aliveMs !== undefined) this.#readyAfter(worker, this.#aliveMs)
  }

  #readyAfter(worker: number, ms: number): void {
    const timer = setTimeout(() => {
      // Not before what has happened in time is known: it may have ended.
      setImmediate(() => {
        if (this.#timers.delete(worker)) this.#post({ type: 'ready', worker })
      })
    }, ms)
    this.#timers.set(worker, { timer, at: now() + ms })
  }

  answer(worker: number, claim: string, { mode }: ClaimAnswer): void {
    if (mode === 'go' || mode === 'hold') this.#post({ type: 'listening', worker, claim })
  }

  order(worker: number, seq: number, { type }: BrainOrder): void {
    this.#post({ type: 'acked', worker, seq })
    if (type === 'drain') this.#stop(worker)
  }

  /** Its end is known. Some programs unlink the path of a socket that they close, whoever else has it. */
  lastWords(worker: number): Held {
    this.#sockets.restorePaths()
    clearTimeout(this.#timers.get(worker)?.timer)
    this.#timers.delete(worker)
    this.#closeDoor(worker)
    return {}
  }

  held(): Held {
    return {}
  }

  loads(): Promise<ReadonlyMap<number, Load>> {
    return Promise.resolve(new Map())
  }

  /** They know nothing of us. */
  measure(): void {}

  look(): Promise<number> {
    return Promise.resolve(0)
  }

  /**
   * By its door. Its kernel takes the connection at once, so what shows that the program has it is that it waits no more. What it speaks is not
   * known: HTTP/1.1 is what is asked.
   */
  wayTo(worker: number): Connect {
    return (answered) => {
      const door = this.#doors.get(worker)
      if (door === undefined) throw new Error('it has ended')
      const fd = native().socket('inet', 'stream')
      try {
        native().connectInet(fd, door.host, door.port)
      } catch (error) {
        native().close(fd)
        throw error
      }
      let looks = 0
      const look = setInterval(() => {
        if (native().pollSync(fd, WRITABLE, 0) === 0 || this.#doors.get(worker) !== door) return
        looks = native().acceptQueue(door.fd).length > 0 ? 0 : looks + 1
        // The last packet of the handshake may be on its way when our end is connected: then nothing waits yet.
        if (looks < 2) return
        clearInterval(look)
        answered({ speaks: 'http' })
      }, LOOK_EVERY_MS)
      const whyNot = `it does not accept from the socket named ${DOOR}, the last one that it was given`
      return { fd, stop: () => clearInterval(look), whyNot }
    }
  }

  #closeDoor(worker: number): void {
    const door = this.#doors.get(worker)
    if (door === undefined) return
    this.#doors.delete(worker)
    native().close(door.fd)
  }

  hand(_worker: number, _port: number | undefined, _fd: number, answered: (answer: HandAnswer) => void): () => void {
    const soon = setImmediate(() => answered({ error: 'it cannot be given a connection' }))
    return () => clearImmediate(soon)
  }

  layLane(_listener: ListenerKey, _from: number, _to: number): void {}

  shutdown(_worker: number, answered: (heard: boolean) => void): void {
    answered(false)
  }

  close(): void {
    for (const { timer } of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
    for (const worker of [...this.#doors.keys()]) this.#closeDoor(worker)
  }
}
