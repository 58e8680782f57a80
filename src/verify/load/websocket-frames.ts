import { createHash, randomBytes } from 'node:crypto'

/** Opcodes (RFC 6455 §5.2). */
export const CONTINUATION = 0x0
export const TEXT = 0x1
export const BINARY = 0x2
export const CLOSE = 0x8
export const PING = 0x9
export const PONG = 0xa

export interface Frame {
  readonly opcode: number
  readonly isFinal: boolean
  readonly payload: Buffer
}

/** Longest frame that is kept: a broken server must not fill the client's memory. */
const MAX_PAYLOAD = 1024 * 1024
/** Longest payload of a control frame, and of a frame without a longer length field. */
const SHORT = 125

/** A frame as a client sends it: whole and masked. For the short payloads of this client. */
export function clientFrame(opcode: number, payload: Buffer): Buffer {
  if (payload.length > SHORT) throw new Error(`a payload of ${payload.length} bytes`)
  const mask = randomBytes(4)
  const frame = Buffer.alloc(6 + payload.length)
  frame[0] = 0x80 | opcode
  frame[1] = 0x80 | payload.length
  mask.copy(frame, 2)
  for (const [at, byte] of payload.entries()) frame[6 + at] = byte ^ (mask[at % 4] as number)
  return frame
}

/** What the server's answer to a handshake must carry (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** Reads the frames of a server, strictly. */
export class FrameReader {
  /** What is wrong with the stream; null while nothing is. */
  problem: string | null = null
  #rest: Buffer = Buffer.alloc(0)

  /** Takes the next bytes; gives the frames that are complete with them. */
  push(bytes: Buffer): Frame[] {
    // A copy: the caller's buffer is used again.
    this.#rest = Buffer.concat([this.#rest, bytes])
    const frames: Frame[] = []
    for (let frame = this.#next(); frame !== null; frame = this.#next()) frames.push(frame)
    return frames
  }

  /** Nothing of a frame has come yet. */
  get isBetween(): boolean {
    return this.#rest.length === 0
  }

  #next(): Frame | null {
    const rest = this.#rest
    if (this.problem !== null || rest.length < 2) return null
    const [first, second] = rest as unknown as [number, number]
    const opcode = first & 0x0f
    const isFinal = (first & 0x80) !== 0
    const short = second & 0x7f
    if ((first & 0x70) !== 0) this.problem = 'a frame with reserved bits'
    else if ((second & 0x80) !== 0) this.problem = 'a masked frame from a server'
    else if (![CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG].includes(opcode)) this.problem = `opcode ${opcode}`
    else if (opcode >= CLOSE && (!isFinal || short > SHORT)) this.problem = 'a control frame that is long or in parts'
    if (this.problem !== null) return null
    const from = short === 126 ? 4 : short === 127 ? 10 : 2
    if (rest.length < from) return null
    const length = short === 126 ? rest.readUInt16BE(2) : short === 127 ? Number(rest.readBigUInt64BE(2)) : short
    if (length > MAX_PAYLOAD) this.problem = `a frame of ${length} bytes`
    if (this.problem !== null || rest.length < from + length) return null
    this.#rest = rest.subarray(from + length)
    return { opcode, isFinal, payload: rest.subarray(from, from + length) }
  }
}

/** Code of a close frame; 1005 stands for none (RFC 6455 §7.4.1). */
export function closeCode(payload: Buffer): number {
  return payload.length < 2 ? 1005 : payload.readUInt16BE(0)
}
