import type {
  CanaryReport,
  KernelCounters,
  KindVerdict,
  Served,
  Status,
  Verdict,
  WarmupReport,
  WorkerStatus,
  WorkerVerdict,
} from '../control-protocol.js'
import { visible } from '../log.js'
import { describeAge, printable } from './words.js'

/** The verdict for a person: what happened, per worker too, and what to think of it. `status`: of the launcher after it, if it still tells. */
export function describeVerdict(verdict: Verdict, status: Status | null): string {
  const { canary, changes, notes, workers } = verdict
  const lines = [
    ...headline(verdict, status),
    ...notes.map((note) => `  note: ${note}`),
    ...(canary === null ? [] : describeCanary(canary)),
    ...changes.map(({ what, from, to }) => `  changed: ${what}: ${from ?? 'not there'} → ${to ?? 'gone'}`),
    ...workers.flatMap((worker) => [describeWorker(worker, verdict), ...describeCut(worker)]),
    ...leaving(verdict),
  ]
  if (verdict.kernel !== null) lines.push(describeKernel(verdict.kernel))
  return `${lines.join('\n')}\n`
}

function describeKernel({ shared, OutRsts, ListenDrops, ListenOverflows }: KernelCounters): string {
  const whose = shared ? ' (whole network namespace)' : ''
  return `  kernel${whose}: OutRsts +${OutRsts}, ListenDrops +${ListenDrops}, ListenOverflows +${ListenOverflows}`
}

/** What became of it and why; of a failure with the candidate's last lines and with who serves now. */
export function headline({ result, step, reason, stderr, from, to, undo }: Verdict, status: Status | null): string[] {
  if (result === 'done' && step !== 'retire')
    return [`generation ${to} serves; generation ${from} is kept until the bake has passed`]
  if (result === 'done') return [`generation ${to} serves; generation ${from} has handed over`]
  const lines = [
    `reload ${result} in step ${step}: ${indented(`${reason}`)}`,
    ...stderr.map((line) => `    | ${visible(line)}`),
  ]
  if (undo?.ms === 0) lines.push(describeOld(from, status))
  else if (undo !== null)
    lines.push(
      undo.ms === null
        ? `generation ${from} has the service again`
        : `generation ${from} accepted again ${undo.ms} ms after the fault was noticed`,
    )
  else if (result !== 'stopped') lines.push(describeOld(from, status))
  return lines
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

/** What it and the others did. `leftMs`: until it is promoted, while it is watched. */
export function describeCanary(
  { slot, pid, share, by, ms, promoted, canary, others }: CanaryReport,
  leftMs: number | null = null,
): string[] {
  const percent = `${Number((share * 100).toFixed(2))} % of the ${by === 'client' ? 'clients' : 'connections'}`
  const since = ms === null ? 'not admitted yet' : `watched for ${describeAge(ms)}`
  const end = promoted === null ? '' : promoted === 'time' ? ', promoted' : ', promoted by order'
  const left = leftMs === null ? '' : `, ${describeAge(leftMs)} left`
  return [
    `  canary: slot ${slot}, pid ${pid ?? '-'}, ${percent}, ${since}${end}${left}`,
    ...(ms === null ? [] : [`    it      ${describeServed(canary)}`, `    others  ${describeServed(others)}`]),
  ]
}

function describeServed({ connections, responses, errors, p50Ms, p95Ms }: Served): string {
  const times = p50Ms === null || p95Ms === null ? '' : `, half of them within ${p50Ms} ms, 95 % within ${p95Ms} ms`
  return `${connections} connections, ${responses} answers${times}; ${errors} of them 5xx`
}

function describeWorker(
  { slot, oldPid, newPid, ms, kept, warmup, answered, moved, closed, cut, kinds }: WorkerVerdict,
  { result }: Verdict,
): string {
  const facts = [
    Object.entries(ms)
      .map(([name, value]) => `${name} ${value} ms`)
      .join(', '),
  ]
  if (warmup !== null) facts.push(describeWarmup(warmup))
  if (kept !== null) facts.push(`${kept} connections kept`)
  // Of a program without our agent nobody knows.
  if (ms.drained !== undefined || closed + cut + moved > 0)
    facts.push(`connections: ${describeFates({ moved, closed, cut }, kinds)}`)
  if (answered !== null) facts.push(`${answered.errors} of ${answered.responses} answers were 5xx`)
  const who = result === 'done' ? `${oldPid ?? '-'} → ${newPid ?? '-'}` : `${oldPid ?? '-'}, candidate ${newPid ?? '-'}`
  return `  slot ${slot}: ${who}  ${facts.join('; ')}`
}

function describeWarmup({ answered, firstMs, lastMs, ms }: WarmupReport): string {
  const times = firstMs === null ? '' : `, the first in ${firstMs} ms, the last in ${lastMs} ms`
  return `warmed up by ${answered} requests in ${ms} ms${times}`
}

/** "3 moved, 2 closed (1 https, 1 websocket), 0 cut": kinds only where they say more than the sum. */
function describeFates(all: KindVerdict, kinds: WorkerVerdict['kinds']): string {
  return (['moved', 'closed', 'cut'] as const)
    .map((fate) => {
      const parts = Object.entries(kinds).flatMap(([kind, one]) => (one[fate] > 0 ? `${one[fate]} ${kind}` : []))
      return `${all[fate]} ${fate}${parts.length === 0 ? '' : ` (${parts.join(', ')})`}`
    })
    .join(', ')
}

function describeCut({ requests, moreRequests }: WorkerVerdict): string[] {
  const lines = requests.map(({ kind, method, path, ageMs, bytesWritten, bytesRead }) => {
    const age = ageMs === null ? '' : `, after ${describeAge(ageMs)}`
    return `    cut: ${kind} ${printable(`${method} ${path}`)}${age}, ${bytesWritten} bytes sent, ${bytesRead} received`
  })
  return moreRequests === 0 ? lines : [...lines, `    and ${moreRequests} more`]
}

function leaving({ draining, result, step }: Verdict): string[] {
  if (draining === 0) return []
  const count = `${draining} ${result === 'undone' ? 'new' : 'old'} worker${draining === 1 ? ' is' : 's are'}`
  return [`  ${count} still ${result === 'done' && step !== 'retire' ? 'paused' : 'draining'}: reuseport-run status`]
}

/** Several lines, each visibly a part of the first. */
function indented(text: string): string {
  return text
    .split('\n')
    .map((line, index) => (index === 0 || line.startsWith('  ') ? visible(line) : `  ${visible(line)}`))
    .join('\n')
}
