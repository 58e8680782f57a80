import { Channel } from '../../channel.js'
import type { Native } from '../../native.js'
import { parsePacket } from '../../serving/incoming.js'
import type { ReceivedFds } from '../../serving/received-fds.js'

export interface TalkEvents<In> {
  heard(message: In, fds: ReceivedFds): void
  /** The other process has closed its end, or died, or says what is no message. Nothing comes after it. */
  ended(): void
}

/** One end of the conversation between two processes. Descriptors that nobody takes are closed. */
export class Talk<In, Out extends object> {
  readonly #native: Native
  readonly #channel: Channel
  readonly #events: TalkEvents<In>

  /** Owns `fd` from now on. */
  constructor(native: Native, fd: number, events: TalkEvents<In>) {
    this.#native = native
    this.#events = events
    this.#channel = new Channel(native, fd, () => this.read())
    this.#channel.start()
  }

  get isOpen(): boolean {
    return this.#channel.isOpen
  }

  /** The descriptors stay the caller's. */
  send(message: Out, fds: readonly number[] = []): boolean {
    return this.#channel.send(message, fds)
  }

  /** What has come by now. */
  read(): void {
    while (this.#channel.isOpen) {
      const packet = this.#channel.receive()
      if (packet === 'empty') return
      const incoming = packet === 'end' ? undefined : parsePacket<In>(this.#native, packet)
      if (incoming === undefined || 'malformed' in incoming) {
        this.#channel.close()
        return this.#events.ended()
      }
      try {
        this.#events.heard(incoming.message as In, incoming.fds)
      } finally {
        incoming.fds.closeRest()
      }
    }
  }

  /** Nothing is heard any more. What was sent can still be read at the other end. */
  close(): void {
    this.#channel.close()
  }
}
