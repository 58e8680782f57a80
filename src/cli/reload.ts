import type { ReloadWait, Status, Verdict, WorkerStatus } from '../control-protocol.js'
import { within } from './connect.js'
import { type CommandLine, usage } from './parse.js'
import { text } from './values.js'

const WAITS: readonly string[] = ['admitted', 'baked', 'retired'] satisfies ReloadWait[]
/** The exit code is the truth: 0 only when the new version serves. */
const EXIT_CODES: Readonly<Record<Verdict['result'], number>> = { done: 0, aborted: 4, undone: 4, stopped: 1 }

export async function reload(line: CommandLine): Promise<number> {
  const given = text(line.values, 'wait')
  const wait = given ?? 'baked'
  if (!WAITS.includes(wait)) throw usage(`--wait ${JSON.stringify(wait)} is none of ${WAITS.join(', ')}`)
  if (line.values['no-wait'] === true) {
    if (given !== undefined) throw usage('--wait and --no-wait cannot both be meant')
    await within(line, 'reload', (client) => client.queueReload())
    process.stdout.write(line.values['json'] === true ? '{"queued":true}\n' : 'reload queued\n')
    return 0
  }
  const isJson = line.values['json'] === true
  const [verdict, status] = await within(line, 'reload', async (client) => {
    const answer = await client.reload({ wait: wait as ReloadWait })
    // The verdict stands, whatever becomes of the launcher.
    return [answer, isJson ? null : await client.status().catch(() => null)] as const
  })
  process.stdout.write(isJson ? `${JSON.stringify(verdict)}\n` : describeVerdict(verdict, status))
  return EXIT_CODES[verdict.result]
}

/** What an aborted reload has left: "serves on" only if it does. */
function describeOld(from: number | null, status: Status | null): string {
  // Paused: told to resume, which it may not have done yet.
  const serves = (worker: WorkerStatus | null): boolean => worker?.state === 'serving' || worker?.state === 'paused'
  const without = status?.slots.filter(({ worker }) => !serves(worker)).map(({ slot }) => slot) ?? []
  if (without.length === 0) return `generation ${from} serves on`
  if (without.length === status?.slots.length) return `generation ${from} stays, but none of its workers serves`
  return `generation ${from} serves on, without a worker in slot ${without.join(', ')}`
}

/** The verdict for a person: what happened per worker, and what to think of it. */
function describeVerdict(verdict: Verdict, status: Status | null): string {
  const lines: string[] = []
  if (verdict.result === 'done')
    lines.push(`generation ${verdict.to} serves; generation ${verdict.from} has handed over`)
  else {
    lines.push(`reload ${verdict.result} in step ${verdict.step}: ${verdict.reason}`)
    lines.push(...verdict.stderr.map((line) => `    | ${line}`))
    if (verdict.result !== 'stopped') lines.push(describeOld(verdict.from, status))
  }
  for (const { slot, oldPid, newPid, ms, closed, cut } of verdict.workers) {
    const times = Object.entries(ms).map(([name, value]) => `${name} ${value} ms`)
    const ended = ms.drained === undefined && ms.exited === undefined ? '' : `; ${closed} connections ended, ${cut} cut`
    const who =
      verdict.result === 'done' ? `${oldPid ?? '-'} → ${newPid ?? '-'}` : `${oldPid ?? '-'}, candidate ${newPid ?? '-'}`
    lines.push(`  slot ${slot}: ${who}  ${times.join(', ')}${ended}`)
  }
  if (verdict.draining > 0)
    lines.push(
      `  ${verdict.draining} old worker${verdict.draining === 1 ? ' is' : 's are'} still draining: reuseport-run status`,
    )
  const { shared, OutRsts, ListenDrops, ListenOverflows } = verdict.kernel
  lines.push(
    `  kernel${shared ? ' (whole network namespace)' : ''}: OutRsts +${OutRsts}, ListenDrops +${ListenDrops}, ListenOverflows +${ListenOverflows}`,
  )
  return `${lines.join('\n')}\n`
}
