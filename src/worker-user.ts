import { readFileSync } from 'node:fs'
import { ReuseportError } from './errors.js'
import { type Identity, native } from './native.js'

/** As whom workers run: `--user`, `--group`, looked up once, at the launcher's start. */
export interface WorkerUser extends Identity {
  /** For messages: "www-data (uid 33)". */
  readonly label: string
  /** What a login of that user would have in the environment; undefined: what the launcher has of it is not passed on. */
  readonly variables: Readonly<Record<'HOME' | 'USER' | 'LOGNAME' | 'SHELL', string | undefined>>
}

/** To become somebody else, to give a directory to his group, and to signal what he runs (capabilities(7): numbers of bits). */
const NEEDED = { CAP_CHOWN: 0, CAP_KILL: 5, CAP_SETGID: 6, CAP_SETUID: 7 }
/** Ids are 32 bits wide; the last one means "none". */
const LARGEST_ID = 2 ** 32 - 2

/**
 * The user that is asked for by name or number; undefined when that is who runs this launcher anyway. Throws ERR_USER when there is none,
 * or this process may not become it.
 */
export function findWorkerUser(user: string, group: string | undefined): WorkerUser | undefined {
  const id = numberOf(user)
  const entry = isName(user) ? native().findUser(id ?? user) : null
  if (entry === null && id === undefined)
    throw refused(`there is no user called ${JSON.stringify(user)}`, 'See `getent passwd`, or give its number.')
  const uid = entry?.uid ?? (id as number)
  const gid = group === undefined ? entry?.gid : groupId(group)
  if (gid === undefined)
    throw refused(`uid ${uid} is not in the user database, so its group is not known`, 'Say which with --group.')
  const groups = [
    ...new Set([gid, ...(entry?.groups ?? []).filter((one) => group === undefined || one !== entry?.gid)]),
  ]
  const name = entry?.name
  if (process.geteuid?.() !== 0) {
    if (uid === process.geteuid?.() && gid === process.getegid?.()) return undefined
    throw refused(
      `workers cannot run as uid ${uid}, gid ${gid}: this is uid ${process.geteuid?.()}, gid ${process.getegid?.()}, and only root can change that`,
      'Start it as root, or as that user and without --user.',
    )
  }
  const missing = missingCapabilities()
  if (uid !== 0 && missing.length > 0)
    throw refused(
      `workers cannot run as uid ${uid}: this is root without ${missing.join(', ')}`,
      `Start it with these capabilities (docker run --cap-add), or as that user and without --user.`,
    )
  return {
    uid,
    gid,
    groups,
    label: name === undefined ? `uid ${uid}` : `${name} (uid ${uid})`,
    variables: { HOME: entry?.home ?? '/', USER: name, LOGNAME: name, SHELL: entry?.shell || undefined },
  }
}

/** Files as that user sees and makes them: nothing asynchronous may begin in there. */
export function asUser<T>(user: Identity | undefined, work: () => T): T {
  if (user === undefined) return work()
  const ours = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] }
  native().useFilesAs(user)
  try {
    return work()
  } finally {
    native().useFilesAs(ours)
  }
}

export function refused(message: string, next: string, cause?: unknown): ReuseportError {
  return new ReuseportError('ERR_USER', message, { next, cause })
}

/** A config file can have any character; no database has this one. */
const isName = (text: string): boolean => !text.includes('\0')

function groupId(group: string): number {
  const id = numberOf(group) ?? (isName(group) ? native().findGroup(group) : null)
  if (id === null)
    throw refused(`there is no group called ${JSON.stringify(group)}`, 'See `getent group`, or give its number.')
  return id
}

function numberOf(text: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined
  if (Number(text) > LARGEST_ID) throw refused(`${text} is no user or group`, `Numbers go up to ${LARGEST_ID}.`)
  return Number(text)
}

function missingCapabilities(): string[] {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
  if (effective === undefined) return []
  const bits = BigInt(`0x${effective}`)
  return Object.entries(NEEDED).flatMap(([name, bit]) => (((bits >> BigInt(bit)) & 1n) === 0n ? [name] : []))
}
