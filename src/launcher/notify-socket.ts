import type { Log } from '../log.js'
import { type Native, native, type Poller, READABLE } from '../native.js'
import type { WorkerEvent } from './brain/events.js'
import type { Processes } from './processes.js'

/** systemd's own limit is the page; nobody has more to say (sd_notify(3)). */
const MOST_BYTES = 4_096
/** One line of a terminal, and a little. */
const LONGEST_STATUS = 200
/** Datagrams that are taken in one turn: a worker that floods must not keep the launcher from everything else. */
const MOST_AT_ONCE = 64

/**
 * The socket that programs of any language tell "READY=1" to, as they would tell systemd (sd_notify(3)). Who says it is told by the kernel:
 * only processes below a worker's own are heard.
 */
export class NotifySocket {
  readonly #native: Native = native()
  readonly #processes: Processes
  readonly #post: (event: WorkerEvent) => void
  readonly #log: Log
  readonly #fd: number
  readonly #poller: Poller

  /** `saved`: the descriptor that another image of this process had. */
  constructor(options: {
    path: string
    letWorkersIn: (path: string) => void
    processes: Processes
    post: (event: WorkerEvent) => void
    log: Log
    saved: number | undefined
  }) {
    this.#processes = options.processes
    this.#post = options.post
    this.#log = options.log
    this.#fd = options.saved ?? this.#bind(options.path, options.letWorkersIn)
    this.#poller = new this.#native.Poller(this.#fd, () => this.#read())
    this.#poller.start(READABLE)
  }

  #bind(path: string, letWorkersIn: (path: string) => void): number {
    const fd = this.#native.socket('unix', 'datagram')
    try {
      this.#native.setOption(fd, 'passCredentials', 1)
      this.#native.bindUnix(fd, path)
      letWorkersIn(path)
      return fd
    } catch (error) {
      this.#native.close(fd)
      throw error
    }
  }

  save(): number {
    return this.#fd
  }

  close(): void {
    this.#poller.close()
    this.#native.close(this.#fd)
  }

  #read(): void {
    for (let n = 0; n < MOST_AT_ONCE; n++) {
      const message = this.#native.receiveMessage(this.#fd, MOST_BYTES)
      if (message === null) return
      // Of BARRIER=1 it is the answer: what was said before has been read. Nothing else that is attached is of use to us.
      this.#native.closeAll(message.fds)
      if (message.truncated)
        this.#log('warn', 'notify.dropped', { pid: message.sender?.pid, reason: 'it was too long' })
      else this.#hear(message.sender?.pid ?? 0, message.data.toString('utf8'))
    }
  }

  #hear(pid: number, text: string): void {
    const said = new Map(text.split('\n').flatMap((line) => assignment(line) ?? []))
    const isReady = said.get('READY') === '1'
    const status = said.get('STATUS')?.slice(0, LONGEST_STATUS)
    if (!isReady && status === undefined) return
    const owner = this.#processes.ownerOf(pid)
    if (owner === undefined)
      return this.#log('warn', 'notify.dropped', {
        pid,
        reason: 'it comes from no worker, or from a process that has ended',
      })
    if (status !== undefined && status !== owner.statusText) {
      owner.statusText = status
      this.#log('info', 'worker.status', { pid: owner.agentPid, text: status })
    }
    if (isReady) this.#post({ type: 'ready', worker: owner.worker })
  }
}

function assignment(line: string): [[string, string]] | undefined {
  const at = line.indexOf('=')
  return at > 0 ? [[line.slice(0, at), line.slice(at + 1)]] : undefined
}
