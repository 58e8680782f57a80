/** A line that is longer comes in pieces (reliability.md L-06). In bytes. */
const LONGEST_LINE = 65_536
/** Lines that are kept: what is shown when a worker fails. */
const KEPT = 20
/** Of each, in characters. */
const LONGEST_KEPT = 1_000

/** A line, or a piece of one that is too long; each byte is one character (latin1), so that whatever it is stays as it is. */
export interface Line {
  readonly bytes: string
  /** What came before belongs to the same line. */
  readonly continues: boolean
}

/** Makes lines of what a process writes, as it comes. */
export class Lines {
  #partial: string
  #continues = false
  /** Only what its lines are of. */
  #last: string[]

  constructor(partial = '', last: readonly string[] = []) {
    this.#partial = partial
    this.#last = [...last]
  }

  /** Begun, and not ended so far. */
  get partial(): string {
    return this.#partial
  }

  /** The last ones, as text. */
  get last(): readonly string[] {
    return this.#last
  }

  take(data: Buffer): Line[] {
    const text = this.#partial + data.toString('latin1')
    const found: Line[] = []
    let at = 0
    const cut = (end: number, isWhole: boolean): void => {
      found.push({ bytes: text.slice(at, end), continues: this.#continues })
      this.#continues = !isWhole
      at = end + (isWhole ? 1 : 0)
    }
    for (let end = text.indexOf('\n'); ; end = text.indexOf('\n', at)) {
      while ((end === -1 ? text.length : end) - at > LONGEST_LINE) cut(at + LONGEST_LINE, false)
      if (end === -1) break
      cut(end, true)
    }
    this.#partial = text.slice(at)
    this.#keep(found)
    return found
  }

  /** Nothing more comes: what was begun is a line. */
  end(): Line[] {
    const rest = this.#partial === '' ? [] : [{ bytes: this.#partial, continues: this.#continues }]
    this.#partial = ''
    this.#continues = false
    this.#keep(rest)
    return rest
  }

  #keep(lines: readonly Line[]): void {
    const text = ({ bytes }: Line): string =>
      Buffer.from(bytes.slice(0, 4 * LONGEST_KEPT), 'latin1')
        .toString('utf8')
        .slice(0, LONGEST_KEPT)
    this.#last = [...this.#last, ...lines.slice(-KEPT).map(text)].slice(-KEPT)
  }
}
