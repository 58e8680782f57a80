import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { expect } from 'vitest'
import { until } from '../../support/until'

/** Numbers of the open descriptors, without the one that reading the directory takes. */
export function openFiles(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      try {
        readlinkSync(`/proc/self/fd/${fd}`)
        return true
      } catch {
        return false
      }
    })
}

/** Exactly those numbers are open again. Awaited: Node closes the pipes of a child that has ended in a later turn of its loop. */
export async function sameFilesAs(before: readonly number[]): Promise<void> {
  const same = until('the same files', () => String(openFiles()) === String(before), 5000)
  await same.catch(() => expect(openFiles()).toEqual(before))
}

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000

/** As the kernel shows them (proc(5), fdinfo). */
export function flagsOf(fd: number): { closeOnExec: boolean; nonBlocking: boolean } {
  const flags = Number.parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8)
  return { closeOnExec: (flags & O_CLOEXEC) !== 0, nonBlocking: (flags & O_NONBLOCK) !== 0 }
}
