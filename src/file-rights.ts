import { type Stats, statSync } from 'node:fs'

/** Who may do anything to us anyway: this user, root, and who owns the root of all paths (in a user namespace that may be a uid that stands for all who have none there). */
export function isTrusted(uid: number): boolean {
  return uid === process.geteuid?.() || uid === 0 || uid === statSync('/').uid
}

/** Others than its owner may put something there. A group may, if it is our own: with a umask of 002 that is everybody's home. */
export function isWritableByOthers({ gid, mode }: Stats): boolean {
  const isOurGroup = gid === process.getegid?.() && process.geteuid?.() !== 0
  return (mode & (isOurGroup ? 0o002 : 0o022)) !== 0
}
