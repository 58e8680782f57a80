import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Native } from '../../native.js'

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
    if (alone) this.#tell(`READY=1\nMAINPID=${process.pid}`)
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
    try {
      if (readFileSync(this.#path, 'latin1').trim() === String(process.pid)) rmSync(this.#path)
    } catch {
      // It is gone, or not to be read: somebody else's matter.
    }
  }

  /** By rename: who reads it finds one pid or the other, never half of one. It serves without it, too. */
  #write(path: string): void {
    const next = `${path}.${process.pid}`
    try {
      writeFileSync(next, `${process.pid}\n`, { mode: 0o644 })
      renameSync(next, path)
    } catch (error) {
      rmSync(next, { force: true })
      process.emitWarning(`the pidfile was not written: ${(error as Error).message}`, {
        code: 'REUSEPORT_RUN_PID_FILE',
      })
    }
  }

  #tell(words: string): void {
    const { NOTIFY_SOCKET } = process.env
    if (NOTIFY_SOCKET === undefined || NOTIFY_SOCKET === '') return
    const fd = this.#native.socket('unix', 'datagram')
    try {
      this.#native.sendDatagram(fd, NOTIFY_SOCKET, Buffer.from(words))
    } catch {
      // Nobody is there who would want to know (sd_notify(3): to be ignored).
    } finally {
      this.#native.close(fd)
    }
  }
}
