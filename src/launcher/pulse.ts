import { ftruncateSync, readSync } from 'node:fs'
import { native, PULSE_BYTES } from '../native.js'
import { now } from './clock.js'

/**
 * A file in memory into which an agent writes when its event loop has turned. That wakes nobody: the launcher sees it when it looks. It is
 * read, not mapped: whoever has a copy can make it shorter.
 */
export class Pulse {
  readonly fd: number
  readonly #beat = new BigUint64Array(1)

  /** Throws EMFILE. */
  constructor() {
    this.fd = native().memoryFile('reuseport-run-pulse')
    ftruncateSync(this.fd, PULSE_BYTES)
  }

  /** How many milliseconds ago it has beaten; null: not since the last look. */
  look(): number | null {
    const before = this.#beat[0]
    readSync(this.fd, this.#beat, 0, PULSE_BYTES, 0)
    const [beat] = this.#beat
    return beat === before ? null : Math.max(0, now() - Number(beat) / 1e6)
  }

  close(): void {
    native().close(this.fd)
  }
}
