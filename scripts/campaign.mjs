/**
 * What long measurements have in common. A campaign is cut into pieces of a few minutes. Those that are named are run, without names all that
 * have no result yet; `--again`: also those. Results are kept below node_modules/.cache, so that a campaign can be run over a day, and are all
 * about one build: of another one they are not counted. The page is written after each piece; `--table`: nothing is run. The exit code
 * is 1 if a piece has failed.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { addon, root } from './build.mjs'

/**
 * `files`: what takes part beside the build itself. `run` gives what a piece has found, `passed` judges it, `page` writes of all that have
 * been run: it gets the pieces that have a result, and a function from piece to result.
 */
export async function campaign({ name, pieces, files, run, passed, page }) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      again: { type: 'boolean', default: false },
      table: { type: 'boolean', default: false },
      out: { type: 'string', default: join(root, 'docs', `${name}.md`) },
    },
  })
  const results = new Results(name, files)
  const write = () => {
    const done = pieces.filter((piece) => results.of(piece) !== undefined)
    if (done.length === 0) throw new Error('no piece has a result of this build')
    mkdirSync(dirname(values.out), { recursive: true })
    writeFileSync(
      values.out,
      page(done, (piece) => results.of(piece)),
    )
    console.error(`written: ${values.out}`)
  }
  const unknown = positionals.filter((id) => !pieces.some((piece) => piece.id === id))
  if (unknown.length > 0)
    throw new Error(`no such piece: ${unknown.join(', ')}; there are ${pieces.map(({ id }) => id).join(', ')}`)
  const asked = pieces.filter(({ id }) => positionals.length === 0 || positionals.includes(id))
  const due = values.table ? [] : asked.filter((piece) => values.again || results.of(piece) === undefined)
  for (const piece of due) {
    results.keep(piece, await run(piece))
    write()
  }
  if (due.length === 0) write()
  const found = pieces.map((piece) => results.of(piece)).filter((result) => result !== undefined)
  process.exitCode = found.every(passed) ? 0 : 1
}

/**
 * What a page says of each part of a campaign: its words, a row for each piece that has figures, and why those that have failed did. Nothing of a
 * part that was not run. `head` is that of all parts that have none of their own.
 */
export function sections(parts, done, { head, row, resultOf, passed }) {
  return Object.entries(parts)
    .map(([part, { title, text, head: own = head }]) => {
      const pieces = done.filter((piece) => piece.part === part)
      if (pieces.length === 0) return ''
      const rows = pieces.flatMap((piece) => {
        const result = resultOf(piece)
        return result.figures === undefined ? [] : [row(piece, result)]
      })
      const failed = pieces.filter((piece) => !passed(resultOf(piece)))
      return `
## ${title}

${text}

${table(own, rows)}
${failed.map((piece) => `\n\`${piece.id}\` **failed**: ${resultOf(piece).reasons.join('; ')}\n`).join('')}`
    })
    .join('')
}

/** What pieces have found, from one run of a campaign to the next. */
export class Results {
  #directory
  #build

  constructor(name, files) {
    this.#directory = join(root, 'node_modules', '.cache', name)
    this.#build = buildOf(files)
  }

  /** If it is about this build. */
  of({ id }) {
    if (!existsSync(this.#file(id))) return undefined
    const kept = JSON.parse(readFileSync(this.#file(id), 'utf8'))
    return kept.build === this.#build ? kept.report : undefined
  }

  /** Of every piece there is, by name. */
  all() {
    const names = existsSync(this.#directory) ? readdirSync(this.#directory).sort() : []
    return names.flatMap((name) => this.of({ id: basename(name, '.json') }) ?? [])
  }

  keep({ id }, report) {
    mkdirSync(this.#directory, { recursive: true })
    writeFileSync(this.#file(id), JSON.stringify({ build: this.#build, report }))
  }

  #file(id) {
    return join(this.#directory, `${id}.json`)
  }
}

/** All code that takes part. */
function buildOf(files) {
  const hash = createHash('sha256').update(readFileSync(addon))
  const dist = readdirSync(join(root, 'dist'), { recursive: true }).filter((name) => name.endsWith('.js'))
  for (const name of [...files, ...dist.sort().map((name) => join('dist', name))])
    hash.update(name).update(readFileSync(join(root, name)))
  return hash.digest('hex')
}

export const number = (value) => value.toLocaleString('en-US')

export const table = (head, rows) =>
  [head, head.map((_, column) => (column === 0 ? '---' : '---:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n')

export const bold = (value) => (value === 0 ? '**0**' : number(value))
