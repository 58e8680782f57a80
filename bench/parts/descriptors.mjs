// How many descriptors a second go from one end of a unix socket to the other.

import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { compiled } from '../contenders/contenders.mjs'
import { goalOf, median, ratio, tableOf } from '../figures.mjs'

const require = createRequire(import.meta.url)
const { native } = require('../../dist/native.js')

const SIZES = [1, 16, 64, 253]
const WAYS = { addon, C: loopInC, 'child.send(handle)': childSend }

export const title = 'Descriptors a second'
export const contenders = Object.keys(WAYS)
/** No server takes part. */
export const isAlone = true
export const rounds = 7
export const plan = { ms: 500, handles: 2_000 }
export const smoke = { ms: 5, handles: 20 }

/** Descriptors a second, by how many are in a message. */
export const measure = ({ who, plan }) => WAYS[who](plan)

function addon({ ms }) {
  const { socketPair, sendMessage, receiveMessage, close, closeAll } = native()
  const file = openSync('/dev/null', 'r+')
  const data = Buffer.from('x')
  const found = SIZES.map((size) => {
    const [from, to] = socketPair()
    const fds = new Int32Array(size).fill(file)
    let sent = 0
    const begun = performance.now()
    do {
      sendMessage(from, data, fds)
      closeAll(receiveMessage(to, 64).fds)
      sent += size
    } while (performance.now() - begun < ms)
    const took = performance.now() - begun
    close(from)
    close(to)
    return [size, (sent * 1_000) / took]
  })
  closeSync(file)
  return Object.fromEntries(found)
}

function loopInC({ ms }) {
  const said = execFileSync(compiled('contenders/descriptors.c'), [ms, ...SIZES].map(String), { encoding: 'utf8' })
  return Object.fromEntries(
    said
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number)),
  )
}

/** Which sends one handle in a message, and waits for the answer before the next. */
async function childSend({ handles }) {
  const child = fork(join(import.meta.dirname, '..', 'contenders', 'takes-handles.cjs'), [String(handles)])
  await once(child, 'message')
  const server = createServer().listen(0)
  await once(server, 'listening')
  const begun = performance.now()
  const all = once(child, 'message')
  for (let n = 0; n < handles; n++) child.send('take', server, { keepOpen: true })
  await all
  const took = performance.now() - begun
  server.close()
  child.disconnect()
  await once(child, 'exit')
  return { 1: (handles * 1_000) / took }
}

const of = (found, who, size) => median(found[who].map((round) => round[size]))
const ratios = (found, who, size, base = size) => found.addon.map((round, at) => round[size] / found[who][at][base])

export function page(found) {
  const rows = SIZES.map((size) => [
    size,
    ...['addon', 'C'].map((who) => Math.round(of(found, who, size)).toLocaleString('en')),
    ratio(median(ratios(found, 'C', size))),
    size === 1 ? Math.round(of(found, 'child.send(handle)', 1)).toLocaleString('en') : '–',
    ratio(median(ratios(found, 'child.send(handle)', size, 1))),
  ])
  const head = ['in a message', 'the addon', 'a loop in C', 'ratio', 'child.send(handle)', 'times child.send']
  return `Sent, received and closed. \`child.send\` has one in each message.\n\n${tableOf(head, rows)}\n`
}

export function goals(found) {
  return [
    ...[64, 253].map((size) =>
      goalOf(`descriptors a second, ${size} in a message, against a loop in C`, '≥', 0.8, ratios(found, 'C', size)),
    ),
    goalOf(
      'descriptors a second, 253 in a message, against `child.send`',
      '≥',
      20,
      ratios(found, 'child.send(handle)', 253, 1),
    ),
  ]
}
