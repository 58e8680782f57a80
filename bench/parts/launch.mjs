// From nothing to the first answer, and what is in memory then.

import { goalOf, median, ms, ratio, tableOf } from '../figures.mjs'
import { memoryOf, others, wakeUps } from '../usage.mjs'

export const title = 'Launch, memory, rest'
export const contenders = ['reuseport-run', 'reuseport-run, no heartbeat', 'plain node', 'node:cluster']
export const rounds = 11
export const plan = { settleSeconds: 1, quietSeconds: 20, restSeconds: 10 }
export const smoke = { settleSeconds: 0.1, quietSeconds: 0, restSeconds: 0.2 }

/**
 * `launchMs`: from the start of the process to the end of the first answer. Memory is counted when all workers are there, wake-ups when V8 and the
 * timers of the start have come to rest, too.
 */
export async function measure({ launchMs, contender, plan: { settleSeconds, quietSeconds, restSeconds }, round }) {
  const supervisor = contender.pid
  await seconds(settleSeconds)
  const found = { launchMs, total: memoryOf(others()), supervisor: memoryOf([supervisor]), wakes: null }
  // Once is enough: it takes long, and hardly varies.
  if (round > 0) return found
  await seconds(quietSeconds)
  const before = wakeUps(supervisor)
  await seconds(restSeconds)
  return { ...found, wakes: (wakeUps(supervisor) - before) / restSeconds }
}

const seconds = (some) => new Promise((done) => setTimeout(done, some * 1_000))

export function page(found) {
  const rows = Object.entries(found).map(([name, all]) => [
    name,
    ms(median(all.map(({ launchMs }) => launchMs))),
    ratio(median(launches(found, name))),
    ...['total', 'supervisor'].flatMap((whose) => ['pss', 'own'].map((key) => megabytes(all, whose, key).toFixed(1))),
    all[0].wakes.toFixed(1),
  ])
  const head = [
    '',
    'first answer, ms',
    'ratio',
    'all: PSS, MB',
    'private',
    'supervisor: PSS, MB',
    'private',
    'wake-ups a second',
  ]
  return `${tableOf(head, rows)}\n`
}

const megabytes = (all, whose, key) => median(all.map((one) => one[whose][key])) / 1024

function launches(found, name) {
  const plain = found['plain node']
  return found[name].map(({ launchMs }, round) => launchMs / plain[round].launchMs)
}

export function goals(found) {
  const own = found['reuseport-run'].map(({ supervisor }) => supervisor.own / 1024)
  const still = found['reuseport-run, no heartbeat'][0].wakes
  const { wakes } = found['reuseport-run'][0]
  return [
    goalOf('launch to first answer against plain `node app.js`', '≤', 1.6, launches(found, 'reuseport-run')),
    goalOf('private memory of the launcher, MB', '≤', 9, own),
    goalOf('wake-ups of an idle launcher in 10 s, `--hang-timeout 0`', '=', 0, [still * 10]),
    goalOf('wake-ups a second of an idle launcher', '≤', 2, [wakes]),
  ]
}
