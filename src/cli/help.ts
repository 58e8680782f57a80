import { GROUPS, type OptionRow, optionsOf, VERBS, type Verb } from './option-table.js'
import { type Look, paint, wrap } from './terminal.js'
import { VERB_TABLE } from './verb-table.js'

/** The widest left column; what is longer has its text on the next line. */
const LEFT = 32
/** In a terminal that is narrower, all text stands on a line of its own. */
const NARROW = 64

export function helpText(verb: Verb, look: Look): string {
  const { form, more } = VERB_TABLE[verb]
  const paragraphs = more.flatMap((text) => wrap(text, look.columns))
  const head =
    verb === 'start'
      ? [...paragraphs, '', ...verbs(look), '', ...example()]
      : [`reuseport-run ${form}`, '', ...paragraphs]
  const rows = optionsOf(verb)
  const width = widthOf(
    rows.map((row) => describe(row, look)[0]),
    LEFT,
  )
  const groups = Object.entries(GROUPS).flatMap(([group, title]) => {
    const own = rows.filter((row) => row.group === group).map((row) => describe(row, look))
    return own.length === 0 ? [] : ['', paint('bold', `${title}:`, look), ...columns(own, look, width)]
  })
  return `${[...head, ...groups].join('\n')}\n`
}

function verbs(look: Look): string[] {
  const rows = VERBS.map((verb): [string, string] => {
    const { form, summary } = VERB_TABLE[verb]
    const short = form.replace(/\[(options|--)\] /g, '').replace(' [options]', '')
    return [`  reuseport-run ${verb === 'start' ? form : short}`, summary]
  })
  const all: [string, string][] = [...rows, ['  reuseport-run VERB --help', 'more about one of them']]
  return columns(all, look, widthOf(all.map(([left]) => left)))
}

function example(): string[] {
  return ['  reuseport-run -n 4 -- node app.js']
}

function describe({ name, short, value, help, ...row }: OptionRow, look: Look): [string, string] {
  const words = `${short === undefined ? '    ' : `-${short}, `}--${name}`
  const left = `  ${paint('bold', words, look)}${value === undefined ? '' : ` ${value}`}`
  return [left, row.default === undefined ? help : `${help} (default: ${row.default})`]
}

/** Two columns; colours count for nothing. */
function columns(rows: readonly (readonly [string, string])[], { columns: all }: Look, left: number): string[] {
  const width = all < NARROW ? 0 : left
  const indent = ' '.repeat(width === 0 ? 8 : width)
  return rows.flatMap(([left, text]) => {
    const lines = wrap(text, all - indent.length)
    if (visible(left) > width - 2) return [left, ...lines.map((line) => `${indent}${line}`)]
    const [first, ...rest] = lines
    return [`${left}${' '.repeat(width - visible(left))}${first}`, ...rest.map((line) => `${indent}${line}`)]
  })
}

function widthOf(lefts: readonly string[], most = Number.POSITIVE_INFINITY): number {
  return Math.max(...lefts.map(visible).filter((length) => length <= most), 0) + 2
}

function visible(text: string): number {
  return text.replace(/\x1b\[\d+m/g, '').length
}
