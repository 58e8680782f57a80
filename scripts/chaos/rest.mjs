/** What there is when nothing goes on any more, and what there should be. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { queues } from '../steering/service.mjs'
import { until } from '../steering/until.mjs'

/** Of one launcher, at any time. */
const MOST_MEMORY = 128 * 1_048_576
/** What connections of ours to it need to be closed. */
const REST_MS = 10_000

/** Most memory that a process has had since its start, or since it became what it is (proc(5), VmHWM), in bytes. */
export function peakOf(pid) {
  const [, kB] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return Number(kB) * 1_024
}

/** Open descriptors of a process by kind: `socket`, `anon_inode:[eventpoll]`, `pipe` … */
export function descriptorsOf(pid) {
  const kinds = {}
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const kind = readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:\[\d+\]$/, '')
      kinds[kind] = (kinds[kind] ?? 0) + 1
    } catch {
      // Closed meanwhile.
    }
  }
  return kinds
}

const sum = (kinds) => Object.values(kinds).reduce((total, count) => total + count, 0)

/** What is wrong with it; `before`: descriptors of the first launcher when it had just begun to serve. */
export async function wrongAtRest(service, { workers, before, peak }) {
  const { pid, slots, listeners } = await service.status()
  const reasons = []
  const commands = service.processes()
  const of = (file) => commands.filter(({ command }) => command.split(' ').some((word) => basename(word) === file))
  const launchers = of('main.js').map((one) => one.pid)
  if (String(launchers) !== String(pid)) reasons.push(`launchers are ${launchers}, and ${pid} should be`)
  const pids = slots.map(({ worker }) => worker.pid).sort()
  const programs = of('program.cjs')
    .map((one) => one.pid)
    .filter((one) => one !== pid)
  if (String(programs.sort()) !== String(pids)) reasons.push(`workers are ${programs}, and ${pids} should be`)
  const sockets = listeners.flatMap((listener) => listener.sockets.map(({ inode }) => inode))
  const listening = [...queues().keys()]
  if (sockets.length !== workers || String(sockets.sort()) !== String(listening.sort()))
    reasons.push(`sockets ${listening} listen, and ${sockets} should`)
  const now = () => descriptorsOf(pid)
  await until('descriptors are closed', () => sum(now()) <= sum(before), REST_MS).catch(() => undefined)
  if (sum(now()) > sum(before))
    reasons.push(`the launcher has ${JSON.stringify(now())} open, and had ${JSON.stringify(before)}`)
  if (peak > MOST_MEMORY) reasons.push(`a launcher had ${Math.round(peak / 1_048_576)} MiB`)
  return reasons
}
