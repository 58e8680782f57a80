import type { Fds, Native } from '../native.js'

/**
 * The descriptors of one message. Who handles the message takes those it keeps; what nobody took is closed when it is done, so that
 * neither an error nor an unknown message leaks one.
 */
export class ReceivedFds {
  readonly #native: Native
  readonly #fds: (number | undefined)[]

  constructor(native: Native, fds: Fds) {
    this.#native = native
    this.#fds = [...fds]
  }

  get count(): number {
    return this.#fds.length
  }

  /** The descriptor is the caller's from now on. */
  take(index: number): number {
    const fd = this.#fds[index]
    if (fd === undefined) throw new Error(`no descriptor ${index} in this message`)
    this.#fds[index] = undefined
    return fd
  }

  closeRest(): void {
    for (const [index, fd] of this.#fds.entries()) {
      if (fd !== undefined) this.#native.close(fd)
      this.#fds[index] = undefined
    }
  }
}
