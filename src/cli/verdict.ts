import type { Verdict, WorkerVerdict } from '../control-protocol.js'

/** The verdict for a person: what happened, per worker too, and what to think of it. */
export function describeVerdict(verdict: Verdict): string {
  const { changes, notes, workers } = verdict
  const lines = [
    ...headline(verdict),
    ...notes.map((note) => `  note: ${note}`),
    ...changes.map(({ what, from, to }) => `  changed: ${what}: ${from ?? 'not there'} → ${to ?? 'gone'}`),
    ...workers.map(describeWorker),
    ...leaving(verdict),
  ]
  const { shared, OutRsts, ListenDrops, ListenOverflows } = verdict.kernel
  lines.push(
    `  kernel${shared ? ' (whole network namespace)' : ''}: OutRsts +${OutRsts}, ListenDrops +${ListenDrops}, ListenOverflows +${ListenOverflows}`,
  )
  return `${lines.join('\n')}\n`
}

function headline({ result, step, reason, stderr, from, to, undo }: Verdict): string[] {
  if (result === 'done' && step !== 'retire')
    return [`generation ${to} serves; generation ${from} is kept until the bake has passed`]
  if (result === 'done') return [`generation ${to} serves; generation ${from} has handed over`]
  const lines = [`reload ${result} in step ${step}: ${reason}`, ...stderr.map((line) => `    | ${line}`)]
  if (undo !== null)
    lines.push(
      undo.ms === null
        ? `generation ${from} has the service again`
        : `generation ${from} accepted again ${undo.ms} ms after the fault`,
    )
  else if (result !== 'stopped') lines.push(`generation ${from} serves on`)
  return lines
}

function describeWorker({ slot, oldPid, newPid, ms, kept, answered, moved, closed, cut }: WorkerVerdict): string {
  const facts = [
    Object.entries(ms)
      .map(([name, value]) => `${name} ${value} ms`)
      .join(', '),
  ]
  if (kept !== null) facts.push(`${kept} connections kept`)
  if (ms.drained !== undefined || ms.exited !== undefined || closed + cut + moved > 0)
    facts.push(`${closed} connections ended, ${cut} cut`)
  if (answered !== null) facts.push(`${answered.errors} of ${answered.responses} answers were 5xx`)
  return `  slot ${slot}: ${oldPid ?? '-'} → ${newPid ?? '-'}  ${facts.join('; ')}`
}

function leaving({ draining, result, step }: Verdict): string[] {
  if (draining === 0) return []
  const count = `${draining} ${result === 'undone' ? 'new' : 'old'} worker${draining === 1 ? ' is' : 's are'}`
  return [`  ${count} still ${result === 'done' && step !== 'retire' ? 'paused' : 'draining'}: reuseport-run status`]
}
