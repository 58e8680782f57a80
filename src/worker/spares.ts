import type { Native } from '../native.js'
import type { SocketName } from '../protocol.js'

/** Copies of the slots' sockets, kept so that they survive a launcher and a worker that die together. The program never sees them. */
export class Spares {
  readonly #native: Native
  readonly #kept = new Map<string, { name: SocketName; fd: number }>()

  constructor(native: Native) {
    this.#native = native
  }

  /** Takes `fd`. */
  keep(name: SocketName, fd: number): void {
    this.drop(name)
    this.#kept.set(textOf(name), { name, fd })
  }

  drop(name: SocketName): void {
    const text = textOf(name)
    const kept = this.#kept.get(text)
    if (kept === undefined) return
    this.#kept.delete(text)
    this.#native.close(kept.fd)
  }

  /** The descriptors stay ours. */
  all(): readonly { name: SocketName; fd: number }[] {
    return [...this.#kept.values()]
  }
}

export function textOf(name: SocketName): string {
  return `${name.slot} ${name.listener}`
}
