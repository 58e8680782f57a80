import { isColoured } from '../colour.js'
import { jsonLine } from '../log.js'
import type { Line } from './lines.js'
import type { Sink } from './output-pipe.js'

export type Stream = 'stdout' | 'stderr'

/** Where whole lines go. `from`: which worker says them. */
export type Write = (data: Buffer, from: number) => void

/** Who says it. */
export interface Speaker {
  /** null: it has none so far. */
  readonly slot: number | null
  readonly generation: number
  readonly pid: number | null
}

/** One for each slot, over and over: SGR codes of cyan, yellow, green, magenta, blue (ECMA-48). */
const COLOURS = [36, 33, 32, 35, 34] as const

/** Gives the lines of workers a name: slot and generation. Their bytes stay as they are, but for what JSON cannot hold. */
export class Output {
  readonly #format: 'text' | 'json'
  readonly #writes: Readonly<Record<Stream, Write>>
  readonly #coloured: Readonly<Record<Stream, boolean>>
  /** Of the longest name so far: the lines stand below each other. */
  #width = 0

  constructor(format: 'text' | 'json', writes: Readonly<Record<Stream, Write>>, isFile: boolean) {
    this.#format = format
    this.#writes = writes
    this.#coloured = { stdout: !isFile && isColoured(1), stderr: !isFile && isColoured(2) }
  }

  /** `speaker` is asked each time, for a worker gets its slot some time after its start; null: it is not known any more. */
  sink(worker: number, stream: Stream, speaker: () => Speaker | null): Sink {
    let last: Speaker = { slot: null, generation: 0, pid: null }
    return {
      by: 'lines',
      write: (lines) => {
        if (lines.length === 0) return
        last = speaker() ?? last
        this.#writes[stream](
          this.#format === 'json' ? asJson(lines, stream, last) : this.#asText(lines, stream, last),
          worker,
        )
      },
    }
  }

  #asText(lines: readonly Line[], stream: Stream, { slot, generation }: Speaker): Buffer {
    const name = `${slot ?? '-'}.${generation}`
    this.#width = Math.max(this.#width, name.length)
    const colour = COLOURS[(slot ?? 0) % COLOURS.length]
    const [on, off] = this.#coloured[stream] ? [`\x1b[${colour}m`, '\x1b[0m'] : ['', '']
    const head = `${on}${name.padEnd(this.#width)} `
    return Buffer.from(
      lines.map(({ bytes, continues }) => `${head}${continues ? '+' : '|'}${off} ${bytes}\n`).join(''),
      'latin1',
    )
  }
}

/** pino's fields, as those of the launcher's own lines; those have no `stream`, and a program cannot make a line without it. */
function asJson(lines: readonly Line[], stream: Stream, { slot, generation, pid }: Speaker): Buffer {
  const text = lines.map(({ bytes, continues }) =>
    jsonLine('info', Buffer.from(bytes, 'latin1').toString('utf8'), {
      stream,
      slot,
      generation,
      pid,
      ...(continues ? { continues } : {}),
    }),
  )
  return Buffer.from(text.join(''))
}
