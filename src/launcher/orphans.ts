import { fstatSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { ReuseportError } from '../errors.js'
import { native } from '../native.js'
import type { LauncherOptions } from '../options.js'
import { ENV_TOKEN } from '../protocol.js'
import type { Activation } from './listen-fds.js'
import type { Notes } from './notebook.js'
import { holdersOf } from './port-holder.js'

/** A process of a launcher that is gone, by what it was started with: the kernel keeps that, whatever the program does (proc(5)). */
export interface Left {
  readonly pid: number
  readonly token: string
}

/** Living processes of these spawns, wrappers and all. */
export function leftOf({ tokens }: Pick<Notes, 'tokens'>): Left[] {
  const known = new Set(tokens)
  if (known.size === 0) return []
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return []
    const token = tokenOf(Number(entry))
    return token !== undefined && known.has(token) ? { pid: Number(entry), token } : []
  })
}

/** Those of them that have one of these sockets: whoever has one speaks to us sooner or later, or somebody should know why not. */
export function holdersAmong(left: readonly Left[], inodes: readonly number[]): number[] {
  if (left.length === 0 || inodes.length === 0) return []
  const holders = new Set(holdersOf(inodes))
  return left.flatMap(({ pid }) => (holders.has(pid) ? pid : []))
}

/**
 * Those who have sockets of the launcher before this one, and are to be waited for. Throws ERR_ORPHANS where nobody can take them over: two sets
 * of workers would serve beside each other.
 */
export function awaitedOf(
  notes: Notes,
  left: readonly Left[],
  { listen }: Pick<LauncherOptions, 'listen'>,
  activation: Activation,
): number[] {
  if (notes.agent && listen.length === 0) return holdersAmong(left, notes.inodes)
  const given = activation.sockets.map(({ fd }) => fstatSync(fd).ino)
  const inodes = notes.inodes.filter((inode) => !given.includes(inode))
  const pids = notes.agent ? holdersAmong(left, inodes) : holdersOf(inodes).filter((pid) => pid !== process.pid)
  if (pids.length === 0) return []
  throw new ReuseportError(
    'ERR_ORPHANS',
    `workers of a launcher of this name that was killed still serve: pid ${pids.join(', ')}`,
    {
      facts: { pids: pids.map(String) },
      next: notes.agent
        ? 'They are run without --listen, and cannot be taken over with it: `reuseport-run stop` ends them.'
        : `A program without our agent (--listen) cannot be taken over. End it, then start again: kill ${pids.join(' ')}`,
    },
  )
}

/** Ends a process that had not come so far that it could serve anybody. False: it is not that process any more. */
export function endHalfStarted({ pid, token }: Left): boolean {
  const addon = native()
  let pidfd: number
  try {
    pidfd = addon.pidfdOpen(pid)
  } catch {
    return false
  }
  try {
    // Now the number cannot be another process's without this descriptor saying that it has ended.
    return tokenOf(pid) === token && addon.pidfdSignal(pidfd, constants.signals.SIGKILL)
  } finally {
    addon.close(pidfd)
  }
}

/** What a process was started with; undefined also if that is not ours to see. */
export function tokenOf(pid: number): string | undefined {
  const uid = process.geteuid?.() ?? 0
  try {
    if (uid !== 0 && statSync(`/proc/${pid}`).uid !== uid) return undefined
    const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
    const at = environment.indexOf(`${ENV_TOKEN}=`)
    if (at === -1) return undefined
    const from = at + ENV_TOKEN.length + 1
    return environment.slice(from, environment.indexOf('\0', from))
  } catch {
    return undefined // Ended meanwhile, or not to be looked into.
  }
}
