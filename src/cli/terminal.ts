import { isColoured } from '../colour.js'
import { isTerminal } from '../is-terminal.js'

/** What of a terminal a text is made for. */
export interface Look {
  readonly columns: number
  readonly colour: boolean
}

const [NARROWEST, WIDEST] = [40, 120] as const
/** Where nobody says how wide it is: a file, a pipe. */
const USUAL = 100

/** Of descriptor 1 or 2. Does not touch the stream itself. */
export function lookOf(fd: 1 | 2, env: NodeJS.ProcessEnv = process.env): Look {
  const isOne = isTerminal(fd)
  // The stream of a terminal may be made: only of a pipe that would change what others see of it.
  const known = Number(env['COLUMNS']) || (isOne ? (fd === 1 ? process.stdout : process.stderr).columns : 0)
  return { columns: Math.min(Math.max(known || USUAL, NARROWEST), WIDEST), colour: isColoured(fd, env) }
}

/** SGR codes, and the end of each (ECMA-48). */
const CODES = { bold: [1, 22], red: [31, 39] } as const

export function paint(how: keyof typeof CODES, text: string, { colour }: Look): string {
  const [on, off] = CODES[how]
  return colour ? `\x1b[${on}m${text}\x1b[${off}m` : text
}

/** Lines of at most so many columns; a word that is longer stays whole. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
