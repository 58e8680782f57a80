import { Duplex } from 'node:stream'

/**
 * A stream that Node's HTTP client may end and destroy as it likes: the connection behind it stays, and takes leave in its own way. What
 * comes after that is read and dropped.
 */
export class Door extends Duplex {
  readonly #connection: Duplex

  constructor(connection: Duplex) {
    super()
    this.#connection = connection
    connection.on('data', (data: Buffer) => {
      if (!this.destroyed && !this.push(data)) connection.pause()
    })
    connection.once('end', () => this.push(null))
    connection.once('error', (error) => this.destroy(error))
    connection.once('close', () => this.destroy())
  }

  override _read(): void {
    this.#connection.resume()
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#connection.write(chunk, encoding, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#connection.resume()
    done(error)
  }
}
