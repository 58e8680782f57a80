import type { LeavingWorker, Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import type { ConnectionKind } from '../protocol.js'
import { connect } from './connect.js'
import type { CommandLine } from './parse.js'
import { describeCanary } from './verdict.js'
import { describeAge } from './words.js'

/** A launcher answers in milliseconds; one that takes so long is stopped, or its event loop is stuck. */
const ANSWER_MS = 5_000

export async function status(line: CommandLine): Promise<number> {
  const answer = await ask(line)
  process.stdout.write(line.values['json'] === true ? `${JSON.stringify(answer)}\n` : describeStatus(answer))
  return 0
}

async function ask(line: CommandLine): Promise<Status> {
  const giveUp = AbortSignal.timeout(ANSWER_MS)
  try {
    return await (await connect(line, giveUp)).status()
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
  const lines = [
    `${status.name}: ${status.state}, launcher pid ${status.pid}, generation ${status.working ?? '-'}, term ${status.term}`,
  ]
  for (const { slot, worker, adoptedBy } of status.slots) {
    const who =
      worker === null
        ? 'no worker'
        : [
            `pid ${worker.pid}, generation ${worker.generation}, ${worker.state}, started ${worker.startedAt}`,
            ...(worker.connections === null ? [] : [`${worker.connections} connections`]),
            ...(worker.text === null ? [] : [`says ${JSON.stringify(worker.text)}`]),
            ...(worker.stuck === null ? [] : [`stuck: ${worker.stuck}`]),
          ].join(', ')
    lines.push(`  slot ${slot}: ${who}${adoptedBy === null ? '' : `; its sockets are adopted by slot ${adoptedBy}`}`)
  }
  if (status.scale != null) lines.push(`  scale: from ${status.scale.from} to ${status.scale.to} workers`)
  const canary = status.reload?.canary
  if (canary != null) lines.push(...describeCanary(canary, canary.leftMs))
  for (const { pid, generation, isReady } of status.standby)
    lines.push(`  standby: pid ${pid}, generation ${generation}, ${isReady ? 'ready' : 'starting'}`)
  const leaving = status.generations.filter(({ number, workers }) => number !== status.working && workers.length > 0)
  for (const { number, state, workers } of leaving)
    lines.push(`  generation ${number}: ${state}, ${workers.length} workers`)
  for (const worker of status.leaving) lines.push(...describeLeaving(worker))
  for (const { address, shared, activated, sockets } of status.listeners) {
    const whose = activated ? 'given by socket activation, ' : ''
    lines.push(`  ${address}${shared ? ` (${whose}shared by all workers)` : ''}`)
    for (const { slot, inode, queue, dropped, parked, holders } of sockets) {
      const lost = dropped === null ? '' : ` bytes, dropped ${dropped}`
      const waiting = queue === null ? '' : `queue ${queue}${lost}, `
      lines.push(`    slot ${slot}${parked ? ', parked' : ''}: inode ${inode}, ${waiting}held by ${holders.join(' ')}`)
    }
  }
  if (status.steering === 'none') lines.push('  steering: none')
  for (const { code, text } of status.warnings) lines.push(`  warning ${code}: ${text}`)
  return `${lines.join('\n')}\n`
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
