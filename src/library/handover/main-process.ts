import type { Native } from '../../native.js'
import { removePidFile, writePidFile } from '../../pid-file.js'
import { ServiceSocket } from '../../service-socket.js'

/**
 * Which process serves now, for those who must know it by number: a pidfile, and systemd (sd_notify(3)), which takes a service for ended when
 * its main process ends. systemd hears that from the main process alone (NotifyAccess=main), so the old one says it.
 */
export class MainProcess {
  readonly #native: Native
  #path: string | undefined
  #isNow = false

  constructor(native: Native) {
    this.#native = native
  }

  /** From the moment on in which this process serves, `path` has its pid. */
  keepFile(path: string): void {
    this.#path = path
    if (this.#isNow) this.#write(path)
  }

  /** This process serves. `alone`: there is none before it that could say so. */
  begin(alone: boolean): void {
    this.#isNow = true
    if (this.#path !== undefined) this.#write(this.#path)
    if (alone) this.#tell('READY=1', `MAINPID=${process.pid}`)
  }

  /** Another one does. */
  passTo(pid: number): void {
    this.#isNow = false
    this.#tell(`MAINPID=${pid}`)
  }

  /** Nobody does. */
  end(): void {
    if (!this.#isNow || this.#path === undefined) return
    this.#isNow = false
    removePidFile(this.#path)
  }

  /** It serves without it, too. */
  #write(path: string): void {
    try {
      writePidFile(path)
    } catch (error) {
      process.emitWarning(`the pidfile was not written: ${(error as Error).message}`, {
        code: 'REUSEPORT_RUN_PID_FILE',
      })
    }
  }

  #tell(...lines: string[]): void {
    const { NOTIFY_SOCKET } = process.env
    if (NOTIFY_SOCKET === undefined || NOTIFY_SOCKET === '') return
    const socket = new ServiceSocket(this.#native, NOTIFY_SOCKET)
    socket.send(lines)
    socket.close()
  }
}
