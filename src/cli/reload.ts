import type { ReloadWait, Verdict } from '../control-protocol.js'
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
  const verdict = await within(line, 'reload', (client) => client.reload({ wait: wait as ReloadWait }))
  process.stdout.write(line.values['json'] === true ? `${JSON.stringify(verdict)}\n` : describeVerdict(verdict))
  return EXIT_CODES[verdict.result]
}

/** The verdict for a person: what happened per worker, and what to think of it. */
function describeVerdict(verdict: Verdict): string {
  const lines: string[] = []
  if (verdict.result === 'done')
    lines.push(`generation ${verdict.to} serves; generation ${verdict.from} has handed over`)
  else {
    lines.push(`reload ${verdict.result} in step ${verdict.step}: ${verdict.reason}`)
    lines.push(...verdict.stderr.map((line) => `    | ${line}`))
    if (verdict.result !== 'stopped') lines.push(`generation ${verdict.from} serves on`)
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
