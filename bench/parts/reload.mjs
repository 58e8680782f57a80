// What clients wait for while versions change, at a rate that every contender can serve: half of what the slowest one can.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { compiled } from '../contenders/contenders.mjs'
import { median, ms, percentile, tableOf } from '../figures.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

export const title = 'Latency, and reloads'
export const contenders = ['reuseport-run', 'reuseport-run, warm', 'node:cluster', 'pm2']
export const rounds = 5
/** `rate` is what PM2 takes at half load on two processors of the machine that docs/benchmarks.md names; another one wants another. */
export const plan = { rate: 1_000, steadySeconds: 5, reloadSeconds: 15, connections: 32 }
export const smoke = { rate: 50, steadySeconds: 0.2, reloadSeconds: 0.5, connections: 4 }

const MODES = ['new', 'kept']

export async function measure({ port, scratch, contender, plan }) {
  const found = {}
  for (const mode of MODES) found[mode] = await reloadsUnder(mode, { port, scratch, contender, plan })
  return found
}

async function reloadsUnder(mode, { port, scratch, contender, plan }) {
  const { rate, steadySeconds, reloadSeconds, connections } = plan
  const file = join(scratch, `${mode}.bin`)
  const seconds = steadySeconds + reloadSeconds
  const words = [port, rate, seconds, connections, mode, file].map(String)
  const client = spawn(compiled('clients/open-loop.c'), words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(client, 'exit')
  let said = ''
  await new Promise((resolve) => {
    client.stdout.on('data', (data) => {
      said += data
      if (said.includes('started')) resolve()
    })
  })
  const begun = monotonicMs()
  const last = begun + seconds * 1_000
  await new Promise((done) => setTimeout(done, steadySeconds * 1_000))
  const windows = []
  do {
    const from = monotonicMs()
    if (!(await contender.reload())) throw new Error('it did not reload')
    windows.push([from, monotonicMs()])
  } while (monotonicMs() + (windows[0][1] - windows[0][0]) < last)
  const [code] = await ended
  if (code !== 0) throw new Error(`the client ended with ${code}`)
  const samples = samplesOf(file)
  const within = ([due]) => windows.some(([from, to]) => due >= from && due <= to)
  return {
    ...JSON.parse(said.trim().split('\n').at(-1)),
    reloads: windows.length,
    reloadMs: median(windows.map(([from, to]) => to - from)),
    steady: latencies(samples.filter(([due]) => due < windows[0][0])),
    reload: latencies(samples.filter(within)),
  }
}

/** Pairs of when a request was due and how long its answer took. */
function samplesOf(file) {
  const bytes = readFileSync(file)
  const values = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  return Array.from({ length: values.length / 2 }, (_, index) => [values[2 * index], values[2 * index + 1]])
}

/** Of those that were answered. */
function latencies(samples) {
  const took = samples.map(([, ms]) => ms).filter((ms) => ms >= 0)
  const [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1].map((share) => percentile(took, share))
  return { p50, p99, p999, max }
}

export function page(found) {
  return MODES.map((mode) => {
    const rows = Object.entries(found).map(([name, all]) => {
      const of = (pick) => median(all.map((round) => pick(round[mode])))
      const four = (when) => ['p50', 'p99', 'p999', 'max'].map((key) => ms(of((one) => one[when][key]))).join(' / ')
      const total = (key) => all.reduce((sum, round) => sum + round[mode][key], 0)
      return [
        name,
        four('steady'),
        four('reload'),
        ms(of((one) => one.reloadMs)),
        total('reloads'),
        total('requests'),
        total('failed'),
        total('closed'),
      ]
    })
    const head = [
      '',
      'steady: p50 / p99 / p99.9 / max, ms',
      'in reloads',
      'a reload, ms',
      'reloads',
      'requests',
      'failed',
      'closed',
    ]
    return `### ${mode === 'new' ? 'a new connection for each request' : 'keep-alive'}\n\n${tableOf(head, rows)}\n`
  }).join('\n')
}

export function goals(found) {
  const warm = found['reuseport-run, warm']
  return MODES.map((mode) => {
    const value = median(warm.map((round) => round[mode].reload.p99 / round[mode].steady.p99))
    const name = mode === 'new' ? 'new connections' : 'keep-alive'
    return {
      goal: `${name}: p99 in a reload with warm-up against its own steady p99`,
      target: '≤ 3',
      value,
      met: value <= 3,
    }
  })
}
