import type { HealthOptions } from '../../options.js'

/** null: well. Else what is wrong, in words for the verdict. */
export type Answer = string | null

/** What is asked, in words. */
export function describe({ kind, target }: HealthOptions): string {
  return kind === 'tcp' ? 'a connection' : `GET ${target}`
}

/** Nothing could be asked: a header that this protocol does not allow, a session that has ended already. */
export function cannotAsk(health: HealthOptions, { code, message }: NodeJS.ErrnoException): Answer {
  return `it could not be asked for ${describe(health)}: ${code ?? message}`
}

/** What of a bad answer is shown (reliability.md D-04). */
const SHOWN_BYTES = 200
/** What of any answer is read: a health answer is a word, and whoever sends more need not be waited for. */
const MOST_BYTES = 65_536

/** The body of one answer as it comes in, bounded, and what to think of the answer. */
export class ResponseJudge {
  readonly #health: HealthOptions
  readonly #status: number
  readonly #location: string | undefined
  #shown = Buffer.alloc(0)
  #bytes = 0

  constructor(health: HealthOptions, status: number, location: string | undefined) {
    this.#health = health
    this.#status = status
    this.#location = location
  }

  get isGood(): boolean {
    return this.#health.statuses.some(([from, to]) => this.#status >= from && this.#status <= to)
  }

  /** Takes a piece. True: that is enough. */
  take(data: Buffer): boolean {
    if (this.#shown.length < SHOWN_BYTES)
      this.#shown = Buffer.concat([this.#shown, data.subarray(0, SHOWN_BYTES - this.#shown.length)])
    this.#bytes += data.length
    return this.#bytes >= (this.isGood ? MOST_BYTES : SHOWN_BYTES)
  }

  /** The answer is complete, or enough of it is known. */
  judge(): Answer {
    if (this.isGood) return null
    const to = this.#location === undefined ? '' : `, to ${JSON.stringify(this.#location.slice(0, SHOWN_BYTES))}`
    // JSON: nothing in it can move a terminal's cursor or begin a line of the log.
    const body = this.#bytes === 0 ? '' : `: ${JSON.stringify(this.#shown.toString('utf8'))}`
    return `it answered ${describe(this.#health)} with ${this.#status}${to}${body}`
  }

  /** The connection has ended in the middle of it. */
  cut(why: string): Answer {
    return this.isGood
      ? `its answer to ${describe(this.#health)} ended after ${this.#bytes} bytes: ${why}`
      : this.judge()
  }
}
