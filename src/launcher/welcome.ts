import { type Hello, PROTOCOL_VERSION, type RefusalCode, type Rejoin } from '../protocol.js'
import { endHalfStarted } from './orphans.js'
import type { Processes, WorkerProcess } from './processes.js'
import { isRejoin } from './report.js'
import type { WorkerChannel } from './worker-channel.js'

/** What a worker's `welcome` needs from the launcher's state. */
export interface Standing {
  readonly generation: number
  readonly slot: number
  readonly term: number
  readonly working: number
}

/** What becomes of who has said hello: our worker; told why not; or not even that. */
export type Judgement =
  | { readonly owner: WorkerProcess; readonly standing: Standing }
  /** Of a launcher that is gone. */
  | { readonly orphan: Rejoin }
  | { readonly code: RefusalCode; readonly message: string }
  | { readonly drop: string }

/** Who may speak as a worker: our uid or the workers', a version we know, the token of a living spawn, and the first process of that spawn. */
export function judge(
  channel: WorkerChannel,
  hello: Hello,
  {
    processes,
    standing: standingOf,
    knownTokens,
    of,
    uid,
  }: {
    processes: Processes
    standing: (worker: number) => Standing | null
    /** Of the spawns of the launcher before this one; null: it has left no word of them. */
    knownTokens: ReadonlySet<string> | null
    of: (worker: number) => readonly WorkerChannel[]
    /** Of the workers, if it is not ours. */
    uid: number | undefined
  },
): Judgement {
  const { peer } = channel
  if (![process.geteuid?.(), 0, uid].includes(peer.uid)) return { drop: `it is of uid ${peer.uid}` }
  if (hello.version !== PROTOCOL_VERSION) {
    const [its, ours] = [String(hello.version), PROTOCOL_VERSION]
    return {
      code: 'version',
      message: `the agent speaks version ${its} of the protocol, this launcher version ${ours}`,
    }
  }
  const owner = typeof hello.token === 'string' ? processes.withToken(hello.token) : undefined
  const standing = owner === undefined ? null : standingOf(owner.worker)
  // What our own workers have started, or are, is no worker of a launcher before us, whatever it says.
  if (owner === undefined && isOffer(hello, knownTokens) && processes.ownerOf(peer.pid) === undefined)
    return { orphan: hello.rejoin }
  if (owner === undefined && knownTokens?.has(hello.token) === true) {
    endHalfStarted({ pid: peer.pid, token: hello.token })
    return { drop: 'the launcher that started it was killed before it served' }
  }
  if (owner === undefined || standing === null)
    return { code: 'token', message: 'no worker of this launcher has this token' }
  const [worker] = of(owner.worker)
  if (worker !== undefined && worker.peer.pid !== peer.pid)
    return {
      code: 'not-the-worker',
      message: `process ${worker.peer.pid} of the same command is the worker; this one listens by itself`,
    }
  try {
    owner.setAgent(peer.pid)
  } catch (error) {
    // It has ended since, and whoever started it has reaped it; or there is no descriptor to watch it by.
    return { drop: `process ${peer.pid} cannot be watched: ${(error as Error).message}` }
  }
  return { owner, standing }
}

/** A worker that had another launcher: one that has left word of its spawns, or none that has. */
function isOffer(hello: Hello, known: ReadonlySet<string> | null): hello is Hello & { rejoin: Rejoin } {
  return typeof hello.token === 'string' && isRejoin(hello.rejoin) && (known === null || known.has(hello.token))
}
