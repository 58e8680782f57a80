import { request } from 'node:http'
import type { Readable } from 'node:stream'
import type {
  CanaryPlan,
  Refusal,
  ReloadWait,
  ScaleVerdict,
  Status,
  UpgradeVerdict,
  Verdict,
} from './control-protocol.js'
import { ReuseportError } from './errors.js'
import { findLauncher } from './runtime-dir.js'

/** Speaks to a running launcher through its control socket. One request per connection: a launcher's end is never missed. */
export class ControlClient {
  readonly #path: string
  readonly #signal: AbortSignal | undefined

  private constructor(path: string, signal: AbortSignal | undefined) {
    this.#path = path
    this.#signal = signal
  }

  /**
   * Finds the launcher called `name` below `runtimeDir` (default: every default place) and checks that it answers.
   * Throws ERR_NO_LAUNCHER with the places that were searched. `signal` ends the waiting, for every answer; what was ordered goes on.
   */
  static async connect(options: {
    name: string
    runtimeDir?: string | undefined
    signal?: AbortSignal | undefined
  }): Promise<ControlClient> {
    const found = findLauncher(options.name, options.runtimeDir)
    const client = new ControlClient(found.controlSocket, options.signal)
    try {
      await client.status()
    } catch (cause) {
      if (cause instanceof ReuseportError && cause.code !== 'ERR_CONTROL') throw cause
      throw found.notFound(cause)
    }
    return client
  }

  /** `watchMs`: workers count their HTTP answers, until nobody has asked so for this long. */
  status({ watchMs }: { watchMs?: number } = {}): Promise<Status> {
    return this.#ask<Status>('GET', watchMs === undefined ? '/status' : `/status?watch=${watchMs}`)
  }

  /** Orders a reload and waits for its verdict (default: until the bake has ended). Throws ERR_CANARY when there can be no canary, ERR_MEMORY when there is not enough. */
  reload({ wait = 'baked', canary }: { wait?: ReloadWait; canary?: CanaryPlan | undefined } = {}): Promise<Verdict> {
    return this.#ask<Verdict>('POST', `/reload?wait=${wait}${queryOf(canary)}`)
  }

  /** Orders a reload and returns when it is queued. Throws ERR_CANARY. */
  async queueReload(canary?: CanaryPlan): Promise<void> {
    await this.#ask<unknown>('POST', `/reload?wait=none${queryOf(canary)}`)
  }

  /** Ends the watch of a canary well; the verdict is that of its reload. Throws ERR_CANARY when there is none. */
  promote(options: { wait?: ReloadWait } = {}): Promise<Verdict> {
    return this.#ask<Verdict>('POST', `/promote?wait=${options.wait ?? 'baked'}`)
  }

  /** Gives the reload that runs up, or undoes it. Throws ERR_CANARY when none runs. */
  abort(): Promise<Verdict> {
    return this.#ask<Verdict>('POST', '/abort')
  }

  /** Orders another number of workers, absolute or relative to what was asked for last, and waits until the new ones serve. */
  scale(order: { to: number } | { by: number }): Promise<ScaleVerdict> {
    return this.#ask<ScaleVerdict>('POST', `/scale?${'to' in order ? `to=${order.to}` : `by=${order.by}`}`)
  }

  /** The launcher's log from now on, one event per line (JSON). It ends with the launcher. Who reads slowly is told of lines that are left out. */
  events(): Promise<Readable> {
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.#path, path: '/events', agent: false, signal: this.#signal }
      const call = request(options, (response) => {
        if (response.statusCode === 200) resolve(response)
        else reject(this.#failure('GET', '/events', `status ${response.statusCode}`))
      })
      call.on('error', (cause) => reject(this.#failure('GET', '/events', cause)))
      call.end()
    })
  }

  /** Puts a new launcher in the place of the one that runs, in the same process. */
  upgrade(): Promise<UpgradeVerdict> {
    return this.#ask<UpgradeVerdict>('POST', '/upgrade')
  }

  /** Orders the stop and waits until the launcher has ended. */
  async stop(): Promise<void> {
    await this.#ask<unknown>('POST', '/stop')
  }

  #ask<T>(method: string, path: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const failed = (cause: unknown): void => reject(this.#failure(method, path, cause))
      const options = { socketPath: this.#path, method, path, agent: false, signal: this.#signal }
      const call = request(options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', failed)
        response.on('end', () => {
          try {
            const answer = JSON.parse(Buffer.concat(chunks).toString('utf8')) as T & {
              message?: string
            } & Partial<Refusal>
            const { code = 'ERR_CANARY', message = '', facts = {}, next = '' } = answer
            if (response.statusCode === 409) reject(new ReuseportError(code, message, { facts, next }))
            else if (response.statusCode !== 200) failed(answer.message ?? `status ${response.statusCode}`)
            else resolve(answer)
          } catch (cause) {
            failed(cause)
          }
        })
      })
      call.on('error', failed)
      call.end()
    })
  }

  #failure(method: string, path: string, cause: unknown): ReuseportError {
    return new ReuseportError('ERR_CONTROL', `the launcher did not answer ${method} ${path}: ${String(cause)}`, {
      facts: { socket: this.#path },
      next: 'Ask `reuseport-run status` whether it still runs.',
      cause,
    })
  }
}

function queryOf(canary: CanaryPlan | undefined): string {
  if (canary === undefined) return ''
  const { share, by, forMs, max5xx, maxLatency } = canary
  const more = Object.entries({ max5xx, maxLatency }).flatMap(([key, value]) =>
    value === null ? [] : `&${key}=${value}`,
  )
  return `&canary=${share}&for=${forMs}&by=${by}${more.join('')}`
}
