import cluster, { type Worker } from 'node:cluster'
import type { ListenAddress, Speaks } from '../../protocol.js'
import { type Answer, type Ask, CMD, isOurs, type Tell } from './messages.js'

type Question = Ask extends infer A ? (A extends Ask ? Omit<A, 'cmd' | 'seq'> : never) : never

/** A child whose event loop turns answers in a millisecond. */
const ANSWER_MS = 500
/** One that is to drain may be busy first. */
export const PATIENCE_MS = 5_000
/** Connections that the primary has accepted reach their child within this, or the children take none. */
const HAND_OUT_MS = 2_000

/** The children of this process, if it is a primary of node:cluster that has any: they have the connections, it has the socket. */
export function childrenOf(): Worker[] {
  if (!cluster.isPrimary) return []
  return Object.values(cluster.workers ?? {}).flatMap((worker) => (worker?.isConnected() ? worker : []))
}

let lastSeq = 0

/** undefined: it has not answered in time. Then it has not our code in it, or stands still. */
export function ask(child: Worker, question: Question, withinMs: number = ANSWER_MS): Promise<Answer | undefined> {
  const seq = ++lastSeq
  return new Promise((done) => {
    const end = (answer?: Answer): void => {
      clearTimeout(timer)
      child.process.off('internalMessage', hear)
      done(answer)
    }
    const hear = (message: unknown): void => {
      if (isOurs(message) && (message as Answer).seq === seq) end(message as Answer)
    }
    const timer = setTimeout(end, withinMs)
    child.process.on('internalMessage', hear)
    child.process.send({ cmd: CMD, seq, ...question }, (error) => {
      if (error !== null) end()
    })
  })
}

export function listen(child: Worker, hear: (tell: Tell) => void): () => void {
  const listener = (message: unknown): void => {
    if (isOurs(message) && 'tell' in (message as object)) hear(message as Tell)
  }
  child.process.on('internalMessage', listener)
  return () => {
    child.process.off('internalMessage', listener)
  }
}

export async function speaksOf(address: ListenAddress): Promise<Speaks | undefined> {
  const where = address.kind === 'unix' ? address.path : address.port
  const answers = await Promise.all(childrenOf().map((child) => ask(child, { ask: 'speaks', where })))
  return answers.find((answer) => answer?.speaks)?.speaks ?? undefined
}

export async function openIn(children: readonly Worker[]): Promise<number> {
  const answers = await Promise.all(children.map((child) => ask(child, { ask: 'count' })))
  return answers.reduce((sum, answer) => sum + (answer?.open ?? 0), 0)
}

/**
 * Until the children have all that this process has accepted for them. It gives each child one connection at a time, and the next when that
 * is answered for; only when all are busy does one wait. So while one waits, each child gets a connection between two questions to it: when
 * in a whole round nobody has got any, none waits, and what was on its way came before the second question.
 */
export async function handedOut(children: readonly Worker[]): Promise<void> {
  const deadline = performance.now() + HAND_OUT_MS
  for (let before = ''; performance.now() < deadline; ) {
    const answers = await Promise.all(children.map((child) => ask(child, { ask: 'count' })))
    const taken = answers.map((answer) => answer?.taken).join()
    if (taken === before && !answers.includes(undefined)) return
    before = taken
  }
}
