// How many requests contenders answer, and what each costs.

import { execFileSync } from 'node:child_process'
import { goalOf, median, ratio, tableOf } from '../figures.mjs'
import { cpuMs, others } from '../usage.mjs'

const BASE = 'plain reuseport'
const SUBJECT = 'reuseport-run'
const MODES = { new: 'a new connection for each request', kept: 'keep-alive' }

export const title = 'Requests a second'
export const contenders = [
  SUBJECT,
  BASE,
  'plain node',
  'node:cluster',
  'node:cluster, no schedule',
  'pm2',
  'nginx',
  'C, epoll',
]
/** Beside them. */
export const needs = ['wrk']
export const rounds = 5

/** wrk with one thread, for whole seconds; gives requests a second, ms of processor time for 100,000 requests, and what went wrong. */
export async function measure({ port, plan }) {
  const found = []
  for (const mode of Object.keys(MODES)) {
    if (plan.warmSeconds > 0) load(port, mode, 32, plan.warmSeconds)
    for (const connections of [32, 64]) {
      const pids = others()
      const before = sum(pids)
      const { requests, seconds, errors } = load(port, mode, connections, plan.seconds)
      const used = sum(pids) - before
      found.push({ mode, connections, rate: requests / seconds, cpu: (used / requests) * 1e5, errors })
    }
  }
  return found
}

export const plan = { warmSeconds: 1, seconds: 3 }
export const smoke = { warmSeconds: 0, seconds: 1 }

const sum = (pids) => pids.reduce((total, pid) => total + cpuMs(pid), 0)

function load(port, mode, connections, seconds) {
  const words = ['-t1', `-c${connections}`, `-d${seconds}s`]
  if (mode === 'new') words.push('-H', 'Connection: close')
  const said = execFileSync('wrk', [...words, `http://127.0.0.1:${port}/`], { encoding: 'utf8' })
  const [, requests, took, unit] = /(\d+) requests in ([\d.]+)(\w+),/.exec(said)
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(said)?.slice(1).map(Number)
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(said)?.[1] ?? 0)
  return {
    requests: Number(requests),
    seconds: Number(took) * (unit === 'm' ? 60 : 1),
    errors: (errors ?? []).reduce((a, b) => a + b, refused),
  }
}

const of = (found, name, mode, connections) =>
  found[name].map((round) => round.find((one) => one.mode === mode && one.connections === connections))

/** Ratios within a round: what slows the machine slows both. */
function ratios(found, name, base, key, mode) {
  return [32, 64].flatMap((connections) => {
    const [subject, other] = [name, base].map((who) => of(found, who, mode, connections))
    return subject.map((one, round) => one[key] / other[round][key])
  })
}

const against = (...words) => median(ratios(...words))

export function page(found) {
  const names = contenders.filter((name) => found[name] !== undefined)
  return Object.entries(MODES)
    .map(([mode, text]) => {
      const rows = names.map((name) => [
        name,
        ...[32, 64].flatMap((connections) => {
          const rounds = of(found, name, mode, connections)
          return [median(rounds.map(({ rate }) => rate)), median(rounds.map(({ cpu }) => cpu / 1_000))].map(
            (value, index) => (index === 0 ? Math.round(value).toLocaleString('en') : value.toFixed(2)),
          )
        }),
        ratio(against(found, name, BASE, 'rate', mode)),
        ratio(against(found, name, BASE, 'cpu', mode)),
        of(found, name, mode, 32)
          .concat(of(found, name, mode, 64))
          .reduce((total, { errors }) => total + errors, 0),
      ])
      const head = [
        '',
        '32: a second',
        'CPU s / 100k',
        '64: a second',
        'CPU s / 100k',
        'rate, ratio',
        'CPU, ratio',
        'errors',
      ]
      return `### ${text}\n\n${tableOf(head, rows)}\n`
    })
    .join('\n')
}

export function goals(found) {
  const has = (name) => found[name] !== undefined
  const rate = (base, mode) => ratios(found, SUBJECT, base, 'rate', mode)
  const cpu = (base, mode) => ratios(found, SUBJECT, base, 'cpu', mode)
  return [
    goalOf('new connections: rate against two plain reuseport workers', '≥', 0.98, rate(BASE, 'new')),
    goalOf('new connections: CPU against two plain reuseport workers', '≤', 1.02, cpu(BASE, 'new')),
    goalOf('keep-alive: rate against two plain reuseport workers', '≥', 0.99, rate(BASE, 'kept')),
    ...['node:cluster', 'pm2']
      .filter(has)
      .flatMap((peer) => [
        goalOf(`new connections: rate against ${peer}`, '≥', 2, rate(peer, 'new')),
        goalOf(`new connections: CPU against ${peer}`, '≤', 0.4, cpu(peer, 'new')),
      ]),
    goalOf('new connections: rate against plain `node app.js` (stretch)', '≥', 1.05, rate('plain node', 'new')),
  ]
}
