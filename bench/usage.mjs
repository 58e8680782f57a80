// What processes cost, from /proc.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** sysconf(_SC_CLK_TCK), which is 100 on every Linux that Node runs on. */
const TICK_MS = 10

/** Everybody else in the network namespace of this process: the contender, and whoever loads it. */
export function others() {
  const own = readlinkSync('/proc/self/ns/net')
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`) === own
      } catch {
        return false
      }
    })
}

/** Those that a process has started, and that have not been reaped. */
export const childrenOf = (parent) =>
  others().filter((pid) => {
    try {
      // State is the first field after the name, the parent the second (proc(5)).
      return Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1).split(' ')[1]) === parent
    } catch {
      return false
    }
  })

/** Processor time of a process and of its children that have ended, in ms. */
export function cpuMs(pid) {
  // After the name, which may hold anything: state is field 3; utime, stime, cutime, cstime are 14 to 17 (proc(5)).
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1).split(' ')
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_MS
}

/** Processor time of the threads that a process has now, in ms; finer than the ticks of `cpuMs`. */
export function threadsMs(pid) {
  const files = readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}/schedstat`)
  // The first figure is the time on a processor, in ns (scheduler/sched-stats in the kernel's documentation).
  return files.reduce((sum, file) => sum + Number(readFileSync(file, 'utf8').split(' ')[0]) / 1e6, 0)
}

/** Of all of them together, in kB: `pss`: shared pages count by their share; `own`: pages that nobody else has. */
export function memoryOf(pids) {
  const sums = { pss: 0, own: 0 }
  for (const pid of pids) {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    const read = (key) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(rollup)[1])
    sums.pss += read('Pss')
    sums.own += read('Private_Clean') + read('Private_Dirty')
  }
  return sums
}

/** How often a process has gone to sleep and come back, all of its threads together. */
export function wakeUps(pid) {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)[1])
  }, 0)
}
