// The figures that the service is held to (test/reliability/figures.json): what each of them should be, what was measured, read from the page of the
// campaign that has measured it, and what others have.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../build.mjs'
import { number } from '../campaign.mjs'

const read = (path) => readFileSync(join(root, path), 'utf8')

/** Throws when a page does not say any more what is read from it. */
export function figures() {
  const rows = JSON.parse(read('test/reliability/figures.json')).map(({ id, bar, measured, left, peers }) => {
    const said = measured.map(({ say, in: page, at, values = {} }) => {
      const text = Object.entries(values).reduce(
        (words, [name, what]) => words.replaceAll(`{${name}}`, value(page, what)),
        say,
      )
      return `${text} ([${nameOf(page)}](${linkTo(page)}${at === undefined ? '' : `#${at}`}))`
    })
    const open = left === undefined ? [] : [`**Not measured**: ${left}`]
    return `| ${id} | ${bar} | ${[...said, ...open].join('. ')} | ${peers} |`
  })
  return ['| | should be | measured | others |', '|---|---|---|---|', ...rows].join('\n')
}

/**
 * What a pattern finds in a page: the number of its group, or their `sum`, `max` or `count` over all that it finds. `flags`: m, for a row of
 * a table begins where a line does.
 */
function value(page, { find, take = 'one' }) {
  const found = [...read(page).matchAll(new RegExp(find, 'gm'))]
  if (found.length === 0) throw new Error(`${page} has nothing like ${find}`)
  if (take === 'count') return number(found.length)
  const values = found.flatMap((groups) => groups.slice(1)).map((digits) => Number(digits.replaceAll(',', '')))
  if (take === 'sum') return number(values.reduce((sum, one) => sum + one, 0))
  if (take === 'max') return number(Math.max(...values))
  return found[0][1].replaceAll('_', ',')
}

const nameOf = (page) => page.replace(/^(?:docs|test)\//, '').replace(/(?:\.test)?\.(?:md|ts)$/, '')
const linkTo = (page) => (page.startsWith('docs/') ? page.slice('docs/'.length) : `../${page}`)
