import { chmodSync, closeSync, lstatSync, rmSync } from 'node:fs'
import { clearTimeout, setTimeout } from 'node:timers'
import { setTimeout as pass } from 'node:timers/promises'
import { isStaleSocket } from '../../bind.js'
import { ReuseportError } from '../../errors.js'
import { lockFile } from '../../lock-file.js'
import type { Native } from '../../native.js'
import type { ReceivedFds } from '../../serving/received-fds.js'
import { type FromNew, type FromOld, HANDOVER_VERSION } from './messages.js'
import { Talk, type TalkEvents } from './talk.js'

/** Who has the path answers in milliseconds; it may be busy, or just be handing over itself. */
const ANSWER_MS = 10_000
/** Between two looks at a path that somebody is about to listen on. */
const AGAIN_MS = 20
const BACKLOG = 16

/** The handover path, as whoever holds it has it: its lock goes with it from process to process, and is free when all of them have gone. */
export interface HandoverPath {
  readonly path: string
  readonly socket: number
  readonly lock: number
}

export interface Met {
  readonly own: HandoverPath
  /** undefined: nobody was there. */
  readonly predecessor:
    | { readonly talk: NewTalk; readonly generation: number; readonly sockets: Map<string, number> }
    | undefined
}
export type NewTalk = Talk<FromOld, FromNew>

/** Finds out who has `path`: a process that gives its sockets, or nobody, and then it is this one. `events`: of what comes after that. */
export async function meet(native: Native, path: string, events: TalkEvents<FromOld>): Promise<Met> {
  const deadline = performance.now() + ANSWER_MS
  do {
    const fd = connect(native, path)
    if (fd === undefined) {
      const own = take(native, path)
      if (own !== undefined) return { own, predecessor: undefined }
    } else if (fd !== 'full') {
      const greeted = await greet(native, fd, path, deadline, events)
      // Its end before an answer: there is another one now, or none.
      if (greeted !== undefined) return greeted
    }
    await pass(AGAIN_MS)
  } while (performance.now() < deadline)
  throw busy(path, 'somebody holds it and does not listen')
}

/** Nobody is to find it any more. */
export function removePath({ path, socket, lock }: HandoverPath, native: Native): void {
  rmSync(path, { force: true })
  native.close(socket)
  // While the lock is held: one that opened the file before sees another one at the path, and tries again.
  rmSync(lockOf(path), { force: true })
  closeSync(lock)
}

function lockOf(path: string): string {
  return `${path}.lock`
}

/** undefined: nobody listens there. */
function connect(native: Native, path: string): number | undefined | 'full' {
  const fd = native.socket('unix', 'seqpacket')
  try {
    native.connectUnix(fd, path)
    if (native.peerCredentials(fd).uid === process.geteuid?.()) return fd
    throw new Error('another user listens there')
  } catch (error) {
    native.close(fd)
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined
    if (code === 'EAGAIN') return 'full'
    throw unusable(path, error)
  }
}

/** undefined: somebody else has just become its owner. */
function take(native: Native, path: string): HandoverPath | undefined {
  try {
    const lock = lockFile(native, lockOf(path))
    if (lock === undefined) return undefined
    try {
      return { path, socket: listen(native, path), lock }
    } catch (error) {
      closeSync(lock)
      throw error
    }
  } catch (error) {
    throw unusable(path, error)
  }
}

function listen(native: Native, path: string): number {
  // Under the lock: it is that of a dead one.
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined && isStaleSocket(native, path, 'seqpacket')) rmSync(path)
  const fd = native.socket('unix', 'seqpacket')
  try {
    native.bindUnix(fd, path)
    chmodSync(path, 0o600)
    native.listen(fd, BACKLOG)
    return fd
  } catch (error) {
    native.close(fd)
    throw error
  }
}

function greet(
  native: Native,
  fd: number,
  path: string,
  deadline: number,
  events: TalkEvents<FromOld>,
): Promise<Met | undefined> {
  return new Promise((done, fail) => {
    let isGreeted = false
    const settle = (deed: () => void): void => {
      isGreeted = true
      clearTimeout(timer)
      deed()
    }
    const talk: NewTalk = new Talk<FromOld, FromNew>(native, fd, {
      heard(message, fds) {
        if (isGreeted) return events.heard(message, fds)
        const met = message.type === 'sockets' ? metBy(path, talk, message, fds) : undefined
        if (met !== undefined) return settle(() => done(met))
        talk.close()
        settle(() => fail(refused(path, message)))
      },
      ended() {
        if (isGreeted) return events.ended()
        settle(() => done(undefined))
      },
    })
    // Referenced: nothing else may keep the process alive yet.
    const timer = setTimeout(
      () => {
        talk.close()
        settle(() => fail(busy(path, 'who holds it does not answer')))
      },
      Math.max(0, deadline - performance.now()),
    )
    talk.send({ type: 'hello', version: HANDOVER_VERSION })
  })
}

function metBy(path: string, talk: NewTalk, message: Extract<FromOld, { type: 'sockets' }>, fds: ReceivedFds): Met {
  const sockets = new Map<string, number>()
  for (const [index, name] of message.fds.entries()) sockets.set(name, fds.take(index))
  const [socket, lock] = ['path', 'lock'].map((name) => sockets.get(name) as number) as [number, number]
  sockets.delete('path')
  sockets.delete('lock')
  return { own: { path, socket, lock }, predecessor: { talk, generation: message.generation, sockets } }
}

function refused(path: string, message: FromOld): ReuseportError {
  if (message.type !== 'refused') return unusable(path, new Error(`it says ${message.type}`))
  if (message.code === 'busy') return busy(path, message.message)
  return unusable(path, new Error(`the process that has it does not take this one: ${message.message}`))
}

function busy(path: string, why: string): ReuseportError {
  return new ReuseportError('ERR_HANDOVER_BUSY', `nothing can be taken over by ${path} now: ${why}`, {
    facts: { path },
    next: 'Start it again when the other one is ready, or has ended.',
  })
}

function unusable(path: string, cause: unknown): ReuseportError {
  return new ReuseportError('ERR_HANDOVER', `no handover by ${path}: ${(cause as Error).message}`, {
    facts: { path, pid: process.pid },
    next: 'The directory must exist and belong to this user; both processes must run as the same user, with the same major version of reuseport-run.',
    cause,
  })
}
