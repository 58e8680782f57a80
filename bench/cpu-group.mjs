// A cgroup for the processor: outside of one the kernel makes a scheduling group of every session (autogroup, sched(7)), so a program with
// a session for each worker would be scheduled otherwise than one that has all in one, and otherwise than any service of a system.

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Whoever calls this and all that it starts are in a group, until `leave()`; one of their own, unless they are in some group already. undefined:
 * they are in none, and may not make one.
 */
export function joinGroup() {
  const parent = own()
  if (parent === undefined) return undefined
  if (!parent.isRoot) return { leave() {} }
  const group = join(parent.path, `bench-${process.pid}`)
  try {
    mkdirSync(group)
  } catch {
    return undefined
  }
  const leave = () => {
    writeFileSync(join(parent.path, 'cgroup.procs'), String(process.pid))
    rmdirSync(group)
  }
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(process.pid))
  } catch {
    rmdirSync(group)
    return undefined
  }
  return { leave }
}

/** The group of this process in the hierarchy that schedules (controller `cpu`, version 1 or 2; cgroups(7)). undefined: there is none. */
function own() {
  const lines = (file) => readFileSync(file, 'utf8').trim().split('\n')
  const groups = lines('/proc/self/cgroup').map((line) => /^(\d+):([^:]*):(.*)$/.exec(line).slice(1))
  for (const [, at, kind, options] of lines('/proc/self/mounts').map((line) => line.split(' '))) {
    const isFirst = kind === 'cgroup' && options.split(',').includes('cpu')
    const [, , path] =
      groups.find(([id, controllers]) =>
        isFirst ? controllers.split(',').includes('cpu') : kind === 'cgroup2' && id === '0',
      ) ?? []
    if (path === undefined) continue
    const found = { path: join(at, path), isRoot: path === '/' }
    if (isFirst || hasCpu(found)) return found
  }
  return undefined
}

/** Of version 2. What is outside of a namespace has no directory in it. */
function hasCpu({ path, isRoot }) {
  const file = join(path, isRoot ? 'cgroup.subtree_control' : 'cgroup.controllers')
  return existsSync(file) && readFileSync(file, 'utf8').split(/\s/).includes('cpu')
}
