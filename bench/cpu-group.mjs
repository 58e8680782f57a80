// A cgroup for the processor: outside of one the kernel makes a scheduling group of every session (autogroup, sched(7)), so a program with
// a session for each worker would be scheduled otherwise than one that has all in one, and otherwise than any service of a system.

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Whoever calls this and all that it starts are in a group of their own, until `leave()`. undefined: it may not make one. */
export function joinGroup() {
  const parent = parentGroup()
  if (parent === undefined) return undefined
  const group = join(parent, `bench-${process.pid}`)
  try {
    mkdirSync(group)
    writeFileSync(join(group, 'cgroup.procs'), String(process.pid))
  } catch {
    return undefined
  }
  return {
    leave() {
      writeFileSync(join(parent, 'cgroup.procs'), String(process.pid))
      rmdirSync(group)
    },
  }
}

/** The one that this process is in, of the hierarchy that has the controller `cpu` (version 1 or 2, cgroups(7)). */
function parentGroup() {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  const paths = readFileSync('/proc/self/cgroup', 'utf8')
    .trim()
    .split('\n')
    .map((line) => /^(\d+):([^:]*):(.*)$/.exec(line))
  const own = (fits) => paths.find(([, id, controllers]) => fits(id, controllers.split(',')))?.[3]
  for (const [, at, kind, options] of mounts) {
    if (kind === 'cgroup' && options.split(',').includes('cpu'))
      return join(
        at,
        own((_, controllers) => controllers.includes('cpu')),
      )
    if (kind !== 'cgroup2') continue
    const path = join(
      at,
      own((id) => id === '0'),
    )
    if (readFileSync(join(path, 'cgroup.subtree_control'), 'utf8').split(/\s/).includes('cpu')) return path
  }
  return undefined
}
