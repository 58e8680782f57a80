// A piece of a campaign that is a process of its own: how it is run and judged, and how its figures are written.

import { execFileSync, spawnSync } from 'node:child_process'
import { root } from './build.mjs'
import { number } from './campaign.mjs'

const git = (...words) => execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim()

/** Of what is measured. */
export const commit = () =>
  git('log', '-1', '--format=%h') + (git('status', '--porcelain', 'src', 'native') === '' ? '' : '-dirty')

/** `script` gets the plan as JSON, and prints `{ figures, reasons }`; without reasons it has passed. It has `timeout` ms. */
export function runPiece({ id, plan, node, script, timeout }) {
  console.error(`\n=== ${id}: ${JSON.stringify(plan)}`)
  const { stdout, signal } = spawnSync(node, [script, JSON.stringify(plan)], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout,
  })
  const report =
    stdout === ''
      ? { reasons: [`it ended without a result${signal === null ? '' : `, by ${signal}`}`] }
      : JSON.parse(stdout)
  console.error(`${passed(report) ? 'passed' : 'FAILED'}: ${JSON.stringify(report.figures)}`)
  for (const reason of report.reasons) console.error(`  ${reason}`)
  return { ...report, commit: commit() }
}

export const passed = ({ reasons }) => reasons.length === 0

export const ms = (value) => (value == null ? '–' : number(Math.round(value)))
export const three = (figure) => (figure == null ? '–' : [figure.median, figure.p95, figure.worst].map(ms).join(' / '))
export const KERNEL = 'OutRsts / ListenDrops / ListenOverflows'
export const kernel = ({ OutRsts, ListenDrops, ListenOverflows }) =>
  `+${OutRsts} / +${ListenDrops} / +${ListenOverflows}`
