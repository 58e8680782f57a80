// The README, with what docs/benchmarks.json has of losses between its two marks.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { plan, table } from '../../bench/parts/losses.mjs'
import { root } from '../build.mjs'

const MARKS = /(?<=<!-- bench:begin -->\n)[\s\S]*(?=<!-- bench:end -->)/

export function withComparison(_, readme) {
  const { found, node } = JSON.parse(readFileSync(join(root, 'docs', 'benchmarks.json'), 'utf8')).losses
  const [[one]] = Object.values(found)
  const facts = `mean of ${one.reloads}; 2 workers, ${plan.connections} clients of each kind, Node ${node}`
  return readme.replace(MARKS, () => `Per reload, ${facts} ([all figures](docs/benchmarks.md)):\n\n${table(found)}\n`)
}
