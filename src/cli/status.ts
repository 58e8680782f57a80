import { readFileSync } from 'node:fs'
import { ControlClient } from '../control-client.js'
import type { LeavingWorker, Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import { logicalDirectory } from '../launcher/command.js'
import type { ConnectionKind } from '../protocol.js'
import { connectOrFind } from './connect.js'
import { statusOfOrphans } from './orphans.js'
import type { CommandLine } from './parse.js'
import { type Look, slotTable } from './status-table.js'
import { timeOr } from './values.js'
import { describeCanary } from './verdict.js'
import { describeAge } from './words.js'

/** A launcher answers in milliseconds; one that takes so long is stopped, or its event loop is stuck. */
const ANSWER_MS = 5_000
const EVERY_MS = 1_000

export async function status(line: CommandLine): Promise<number> {
  if (line.values['watch'] === true) {
    const everyMs = Math.max(100, timeOr(line.values, 'interval', EVERY_MS))
    const { watch } = await import('./watch.js')
    return watch({
      look: async () => ({ status: await ask(line, { watchMs: WATCH_ROUNDS * everyMs }), at: Date.now() }),
      lines: (look, before, width) => watchLines(look, before, width),
      everyMs,
      isJson: line.values['json'] === true,
    })
  }
  const answer = await ask(line)
  process.stdout.write(line.values['json'] === true ? `${JSON.stringify(answer)}\n` : describeStatus(answer))
  return 0
}

/** So many looks may fail or be late before workers stop counting. */
const WATCH_ROUNDS = 5

async function ask(line: CommandLine, options: { watchMs?: number } = {}): Promise<Status> {
  const giveUp = AbortSignal.timeout(ANSWER_MS)
  try {
    const found = await connectOrFind(line, giveUp)
    return found instanceof ControlClient
      ? await found.status(options)
      : await statusOfOrphans(found, logicalDirectory())
  } catch (cause) {
    if (!giveUp.aborted) throw cause
    throw new ReuseportError('ERR_TIMED_OUT', `the launcher has not answered within ${ANSWER_MS} ms`, {
      facts: { ms: ANSWER_MS },
      next: 'It is stopped (SIGSTOP) or busy. Its pid is in its runtime directory; its workers may serve all the same.',
      cause,
    })
  }
}

function describeStatus(status: Status): string {
  // What is not read on a terminal is not cut.
  const width = process.stdout.isTTY ? process.stdout.columns || 80 : Number.POSITIVE_INFINITY
  const look = { status, at: Date.now() }
  const table = slotTable(look, { before: null, width: width - 2, pss: pssOf(status), averages: true })
  const lines = [headline(look), ...indent(table), ...notes(look), ...leaving(status), ...listeners(status)]
  return `${[...lines, ...ends(status)].join('\n')}\n`
}

/** What is drawn again and again: without what hardly ever changes. */
function watchLines(look: Look, before: Look | null, width: number): string[] {
  const { status } = look
  const table = slotTable(look, { before, width: width - 2, pss: new Map() })
  const addresses = status.listeners.map(({ address, backlog, sockets }) => {
    const sum = (of: 'queue' | 'dropped'): number => sockets.reduce((total, socket) => total + (socket[of] ?? 0), 0)
    const isUdp = sockets.some(({ dropped }) => dropped !== null)
    const room = isUdp ? `bytes, dropped ${sum('dropped')}` : `of ${backlog * sockets.length}`
    return `  ${address}  queue ${sum('queue')} ${room}`
  })
  return [headline(look), ...indent(table), ...notes(look), ...leaving(status), ...addresses, ...ends(status)]
}

const indent = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`)

function headline({ status, at }: Look): string {
  const { name, state, pid, working, term, version } = status
  const up = describeAge(Math.max(0, at - Date.parse(status.startedAt)))
  const since =
    status.upgradedAt == null ? '' : `, upgraded ${describeAge(Math.max(0, at - Date.parse(status.upgradedAt)))} ago`
  return `${name}: ${state}, ${pid === null ? 'no launcher' : `launcher pid ${pid}`}, generation ${working ?? '-'}, term ${term}, up ${up}${since}, ${version}`
}

/** What there is to say of single slots, of reloads and scales. */
function notes({ status, at }: Look): string[] {
  const lines = status.slots.flatMap(({ slot, worker, adoptedBy }) => [
    ...(worker?.text == null ? [] : [`  slot ${slot}: says ${JSON.stringify(worker.text)}`]),
    ...(worker?.stuck == null ? [] : [`  slot ${slot}: stuck: ${worker.stuck}`]),
    ...(adoptedBy === null ? [] : [`  slot ${slot}: its sockets are adopted by slot ${adoptedBy}`]),
  ])
  if (status.scale != null) lines.push(`  scale: from ${status.scale.from} to ${status.scale.to} workers`)
  const { reload, lastReload, lastReloadAt } = status
  if (reload !== null)
    lines.push(
      `  reload ${reload.id}: ${reload.step}, ${describeAge(reload.ms)}, generation ${reload.from} → ${reload.to}`,
    )
  if (reload?.canary != null) lines.push(...describeCanary(reload.canary, reload.canary.leftMs))
  if (lastReload !== null) {
    const ago = lastReloadAt === null ? '' : `, ${describeAge(Math.max(0, at - Date.parse(lastReloadAt)))} ago`
    const { id, result, from, to, step, reason } = lastReload
    const what = result === 'done' ? `generation ${from} → ${to}` : `in step ${step}: ${reason}`
    lines.push(`  last reload: ${id} ${result}${ago}: ${what}`)
  }
  for (const { pid, generation, isReady } of status.standby)
    lines.push(`  standby: pid ${pid}, generation ${generation}, ${isReady ? 'ready' : 'starting'}`)
  return lines
}

function leaving(status: Status): string[] {
  const old = status.generations.filter(({ number, workers }) => number !== status.working && workers.length > 0)
  return [
    ...old.map(({ number, state, workers }) => `  generation ${number}: ${state}, ${workers.length} workers`),
    ...status.leaving.flatMap(describeLeaving),
  ]
}

function listeners(status: Status): string[] {
  return status.listeners.flatMap(({ address, shared, activated, sockets }) => {
    const whose = activated ? 'given by socket activation, ' : ''
    const lines = sockets.map(({ slot, inode, queue, dropped, parked, holders }) => {
      const lost = dropped === null ? '' : ` bytes, dropped ${dropped}`
      const waiting = queue === null ? '' : `queue ${queue}${lost}, `
      return `    slot ${slot}${parked ? ', parked' : ''}: inode ${inode}, ${waiting}held by ${holders.join(' ')}`
    })
    return [`  ${address}${shared ? ` (${whose}shared by all workers)` : ''}`, ...lines]
  })
}

function ends(status: Status): string[] {
  return [
    ...(status.steering === 'none' ? ['  steering: none'] : []),
    ...status.warnings.map(({ code, text }) => `  warning ${code}: ${text}`),
  ]
}

/** Memory with what is shared divided among those who share it (proc(5), smaps_rollup): once, since the kernel looks at every page for it. */
function pssOf({ slots }: Status): Map<number, number> {
  return new Map(
    slots.flatMap(({ worker }) => {
      if (worker === null) return []
      try {
        const [, kilobytes] =
          /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${worker.pid}/smaps_rollup`, 'latin1')) ?? []
        return kilobytes === undefined ? [] : [[worker.pid, Number(kilobytes) * 1_024] as const]
      } catch {
        return [] // Another user's process.
      }
    }),
  )
}

function describeLeaving({ slot, pid, generation, state, ms, leftMs, held }: LeavingWorker): string[] {
  const since = ms === null ? '' : ` for ${describeAge(ms)}`
  const left = leftMs === null ? '' : `; what is left in ${describeAge(leftMs)} is cut`
  return [
    `    slot ${slot}: pid ${pid ?? '-'}, generation ${generation}, ${state}${since}${left}`,
    ...Object.entries(held).map(([kind, { open, oldestMs }]) => {
      const oldest = oldestMs === null ? '' : `, the oldest request ${describeAge(oldestMs)} old`
      return `      ${open} ${kind}${oldest}: until ${WAITS_FOR[kind as ConnectionKind]}`
    }),
  ]
}

/** What ends a connection of a draining worker, before its deadline does. */
const WAITS_FOR: Readonly<Record<ConnectionKind, string>> = {
  http: 'it is answered, moved, or silent for long',
  https: 'its next answer, or silent for long',
  h2: 'its streams have ended',
  h2c: 'its streams have ended',
  websocket: 'it is told to close, and does',
  sse: 'it ends',
  upgraded: 'it ends',
  tls: 'it ends',
  tcp: 'it ends',
  udp: 'the program closes it',
}
