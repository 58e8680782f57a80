import { closeSync } from 'node:fs'
import type { Log } from '../../log.js'
import { native, shieldFile } from '../../native.js'
import { VERSION } from '../../version.js'
import type { NewEvent } from '../event-queue.js'
import { descriptorsOf, type Image, writeImage } from './image.js'
import { Refused, tryOut } from './pre-flight.js'
import type { Trial } from './self-test.js'
import { findSuccessor, type Successor } from './successor.js'
import { ENV_STATE } from './words.js'

/** Answers to questions of our own are waited for so long: most come within milliseconds, and a stuck worker gives none. */
const SETTLE_MS = 1_000

/** What of the launcher it needs. */
export interface Parts {
  readonly log: Log
  /** Where the launcher was started, as it was named. */
  readonly directory: string
  /** Without side effects. */
  readonly save: () => Image
  /** Nobody has called it off. */
  readonly isWanted: () => boolean
  /** Begins nothing of its own any more; the other goes on with all of it. */
  readonly suspend: () => void
  readonly goOn: () => void
  /** Something is under way that would be cut. */
  readonly isBusy: () => boolean
  /** That is not waited for any longer. */
  readonly giveUpWaiting: () => void
  readonly own: (pid: number) => () => void
  readonly post: (event: NewEvent) => void
}

/**
 * Puts a new launcher in this one's place: execve(2), so that pid, children and sockets stay. First it is tried in a process of its own;
 * until that has said yes nothing changes, and whatever fails then leaves this launcher as it was.
 */
export async function upgrade(parts: Parts): Promise<void> {
  const from = { version: VERSION, node: process.version }
  let to: Trial | null = null
  try {
    const successor = findSuccessor(parts.directory)
    to = await tried(successor, parts)
    // Its own one is sure to be there: ours may have gone with the version that we are of.
    const shield = to.shield ?? shieldFile()
    if (shield === undefined || !(to.isShielded || shieldFile() === undefined))
      parts.log('warn', 'upgrade.unshielded', {
        text: 'LD_PRELOAD has no effect on this Node: a signal in the first 60 ms of the new launcher would end it, and its workers would serve on without',
      })
    await replace(successor, shielded(shield), parts)
  } catch (error) {
    const { message } = error as Error
    const stderr = error instanceof Refused ? error.stderr : []
    const is = to === null ? null : { version: to.version, node: to.node }
    parts.post({ type: 'upgrade-refused', reason: message, stderr, from, to: is })
  }
}

/** The environment of the new image. What a user preloads comes first, as where he preloads it. */
function shielded(shield: string | undefined): NodeJS.ProcessEnv {
  const { LD_PRELOAD: theirs } = process.env
  if (shield === undefined) return { ...process.env }
  return { ...process.env, LD_PRELOAD: theirs === undefined || theirs === '' ? shield : `${theirs}:${shield}` }
}

async function tried(successor: Successor, { save, directory, own }: Parts): Promise<Trial> {
  const state = writeImage(save())
  try {
    return await tryOut(successor, { directory, state, env: shielded(shieldFile()), own })
  } finally {
    closeSync(state)
  }
}

/** Returns only if it has been called off. Throws why it could not be done. */
async function replace({ file, argv }: Successor, env: NodeJS.ProcessEnv, parts: Parts): Promise<void> {
  parts.suspend()
  await quiet(parts)
  native().raiseShield()
  try {
    // What libuv has taken already is in its pipe: the first turn may be past the place where it is read, the second is not.
    await turn()
    await turn()
    // It may have begun something.
    await quiet(parts)
    if (!parts.isWanted()) return
    parts.giveUpWaiting()
    const image = parts.save()
    const state = writeImage(image)
    try {
      const words = Object.entries({ ...env, [ENV_STATE]: String(state) }).map(([name, value]) => `${name}=${value}`)
      native().replaceProcess({ file, argv, env: words, fds: [...descriptorsOf(image), state] })
    } finally {
      closeSync(state)
    }
  } finally {
    native().lowerShield()
    parts.goOn()
  }
}

async function quiet({ isBusy }: Parts): Promise<void> {
  const deadline = performance.now() + SETTLE_MS
  while (isBusy() && performance.now() < deadline) await new Promise((done) => setTimeout(done, 1))
}

function turn(): Promise<void> {
  return new Promise((done) => setImmediate(done))
}
