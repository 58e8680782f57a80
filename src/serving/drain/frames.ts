/** Opcodes of RFC 6455 §5.2: continuation, text, binary; close, ping, pong. */
const DATA: readonly number[] = [0, 1, 2]
const CONTROL: readonly number[] = [8, 9, 10]
const LONGEST_CONTROL = 125

/** Of bytes that are none, one in thirty looks like the begin of a frame. */
const PROOF_AFTER_LOSS = 3

/** A server's close frame: FIN and opcode 8, two bytes, 1012 "service restart" (IANA's registry of close codes). */
export const CLOSE_1012: Buffer = Buffer.from([0x88, 0x02, 0x03, 0xf4])

/**
 * The frames that a server sends, followed by their headers alone: where one ends. Begun at what is taken for the begin of a frame; bytes
 * that no server may send there show that it was none.
 */
export class Frames {
  /** Frames seen to their end. */
  complete = 0
  /** Of a message in several frames the last one is still to come. */
  isInMessage = false
  isLost = false
  /** Complete frames that show that the begin was one. */
  #proof = 1
  readonly #header: number[] = []
  /** Payload bytes of this frame that are still to come. */
  #left = 0

  get isAtBoundary(): boolean {
    return !this.isLost && this.#left === 0 && this.#header.length === 0
  }

  get isProven(): boolean {
    return this.complete >= this.#proof
  }

  /** One write. */
  feed(bytes: Uint8Array): void {
    // Whoever passes on what it reads begins a write where a frame begins now and then.
    if (this.isLost) this.restart(PROOF_AFTER_LOSS)
    let at = 0
    while (at < bytes.length && !this.isLost) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, bytes.length - at)
        this.#left -= taken
        at += taken
        if (this.#left === 0) this.complete++
      } else {
        this.#header.push(bytes[at++] as number)
        this.#take()
      }
    }
  }

  /** Here a frame begins, most likely: after so many complete ones surely. */
  restart(proof: number): void {
    this.isLost = false
    this.#proof = proof
    this.isInMessage = false
    this.complete = 0
    this.#header.length = 0
    this.#left = 0
  }

  #take(): void {
    const [first, second, ...more] = this.#header as [number, number?, ...number[]]
    if (second === undefined) return
    const short = second & 0x7f
    if (more.length < (short === 126 ? 2 : short === 127 ? 8 : 0)) return
    const length = more.reduce((sum, byte) => sum * 256 + byte, 0)
    this.#header.length = 0
    this.isLost = !isServerHeader(first, second, length)
    if (this.isLost) return
    const isFinal = (first & 0x80) !== 0
    if (DATA.includes(first & 0x0f)) this.isInMessage = !isFinal
    this.#left = short < 126 ? short : length
    if (this.#left === 0) this.complete++
  }
}

/** What RFC 6455 §5.2 and §5.5 let a server say. RSV1 is compression's (RFC 7692), the other two have no meaning yet. */
function isServerHeader(first: number, second: number, length: number): boolean {
  const [opcode, short] = [first & 0x0f, second & 0x7f]
  if ((first & 0x30) !== 0 || (second & 0x80) !== 0) return false
  if (short === 126 && length < 126) return false
  if (short === 127 && (length < 65_536 || length > Number.MAX_SAFE_INTEGER)) return false
  if (CONTROL.includes(opcode)) return (first & 0xc0) === 0x80 && short <= LONGEST_CONTROL
  return DATA.includes(opcode)
}
