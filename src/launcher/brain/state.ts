import type {
  CanaryPlan,
  Change,
  GenerationState,
  ReadySignal,
  ReloadStep,
  ReloadWait,
  Strategy,
  WarmupReport,
  WorkerState,
} from '../../control-protocol.js'
import type { Answered, DrainOutcome, ListenAddress, ListenerKey, OrderType, SocketName } from '../../protocol.js'
import { EMPTY_TALLY, type Tally } from './restart-policy.js'

/**
 * Everything the launcher knows, as plain data. Only `step` changes it (on a copy); what must happen in the world comes out as
 * effects. Whatever can be derived is derived: there is no second list to keep in step.
 */
export interface State {
  phase: 'starting' | 'running' | 'stopping' | 'stopped'
  settings: Settings
  /** They count from the beginning of the next reload on; null: they stay as they are. */
  settingsOfNext: Settings | null
  /** Grows with every handover and every undo. */
  term: number
  /** Number of the generation that was last the working one of every slot; null until the first one serves. Each slot has its own. */
  working: number | null
  generations: Record<number, Generation>
  /** By worker id, which is never used twice. An entry goes when its process has been reaped. */
  workers: Record<number, Worker>
  listeners: Record<ListenerKey, Listener>
  /** Slots whose sockets a predecessor has left, in the order of their listen(2): they listen, clients wait, and no worker has claimed them yet. */
  stored: Record<ListenerKey, readonly number[]>
  slots: Slot[]
  /** Of the warm spares: their recent unexpected exits, and whether a restart pause runs. */
  standby: Pick<Slot, 'tally' | 'pausing'>
  /** Sockets of slots that are gone, by slot. */
  parked: Record<number, Parked>
  /** The kernel lets us choose which sockets get new connections. */
  steers: boolean
  /** Another number of slots was asked for; null: it is what it is. */
  scale: Scale | null
  /** The reload that runs; at most one. */
  run: Run | null
  /** A worn worker is being replaced by another one of its generation; absent: none is. */
  relief?: Relief
  /** Callers of the reload that waits; null when none does. */
  waiting: Caller[] | null
  /** Reloads whose verdict is given, but whose old workers are still draining. */
  retiring: Run[]
  /** A new launcher is about to take the place of this one; null: none is. */
  upgrade: Upgrade | null
  /** It is to be done once more, or for the first time. */
  upgradeWaiting: Upgrade | null
  stop: Stop | null
  /** Counters behind ids. */
  next: { worker: number; generation: number; seq: number; run: number }
}

export interface Settings {
  readonly slots: number
  /** The workers have our agent. Without it nobody can hold, pause or resume one: it accepts from its start up to its stop signal. */
  readonly agent: boolean
  /** Listeners whose socket was given to the launcher: there is one for all slots. */
  readonly given: readonly ListenerKey[]
  readonly ports: readonly number[] | undefined
  readonly readyTimeoutMs: number
  readonly drainTimeoutMs: number
  readonly killAfterMs: number
  /** When WebSocket clients are told: over `drainSpreadMs` from the begin of a drain on, or at its deadline. */
  readonly websocket: 'close' | 'keep'
  readonly drainSpreadMs: number
  /** What a worker must say before it may be probed and admitted; 'listening' is demanded in any case. */
  readonly ready: ReadySignal
  /** A health check was asked for: a held worker must pass it, and is watched by it during the bake. */
  readonly probes: boolean
  /** A worker that has proven itself is warmed up before it is admitted. */
  readonly warms: boolean
  /** The health check goes on for as long as a worker serves. */
  readonly liveness: boolean
  readonly strategy: Strategy
  /** 'all': candidates that start at one time. 'rolling': workers beyond the number of slots. null: all of them; one. */
  readonly surge: number | null
  /** How long the old generation is kept paused after the handover; 0: not at all. */
  readonly bakeMs: number
  /** Share (0…1) of 5xx answers of the new generation above which a bake is undone; null: answers are not counted. */
  readonly bakeMax5xx: number | null
  /** Idle connections of a worker that leaves go to its successor. */
  readonly migrate: boolean
  /** Those of a worker that has paused for a bake go at once. */
  readonly bakeMigrate: boolean
  /** A program of ours chooses the socket of each new connection, not the kernel's hash. */
  readonly alwaysSteers: boolean
  /** How many warm spares are kept. */
  readonly standby: number
  /** How long the socket of a slot that is gone is accepted from at least: handshakes that have begun must be over (kernel.md §3). */
  readonly parkMs: number
  /** So long flows of UDP sockets stay with the old workers; 0: not at all. */
  readonly udpLingerMs: number
  /** The kernel takes steering programs, as far as that could be tried. */
  readonly steers: boolean
}

export interface Generation {
  readonly number: number
  state: GenerationState
  /** Listeners that its workers had when it became ready: what a successor and a respawn must claim. */
  listeners: ListenerKey[]
  /** A worker of it was above --max-memory right after its start; absent: none was. */
  isTooBig?: true
}

export interface Worker {
  readonly id: number
  /** NO_SLOT: a warm spare. */
  slot: number
  readonly generation: number
  /**
   * 'first' goes live at its claim; all others are held until they have proven themselves. 'canary': a candidate beyond the slots. 'latecomer':
   * of a launcher that is gone, and come too late to be taken over.
   */
  role: 'first' | 'candidate' | 'canary' | 'respawn' | 'latecomer'
  state: WorkerState
  /** How far a held worker has come beyond 'ready': its health path is being asked, it is warmed up, or nothing more is wanted of it. */
  proof: 'none' | 'probing' | 'warming' | 'proven'
  /** The program has said that it is ready, as --ready asks for it. */
  said: boolean
  /** It uses the library: nothing of it serves from its claim on. */
  says: boolean
  /** Why it has not proven itself so far, by its last probe or its heart. */
  doubt: string | null
  /** It does not answer: its event loop stands still, or an order is overdue. Its siblings see to its sockets meanwhile. */
  stuck: boolean
  /** Why it is not waited for any more: as soon as another worker is well, it is killed. null: it is waited for. */
  hung: string | null
  /** The process that listens, once known; before that the process that was spawned. */
  pid: number | null
  claims: Record<string, Claim>
  /** Orders that have not been answered, by seq. */
  orders: Record<number, OrderType>
  /** Those of them that are to adopt. */
  adopts: Record<number, SocketName>
  /** It could not adopt what it was to, a moment ago. */
  isFull: boolean
  /** Highest term this worker has acknowledged. */
  term: number
  /** Sockets of which it was sent a spare copy, as "slot listener". */
  spares: readonly string[]
  /** The worker that takes its idle connections, by listener, once it drains. */
  lanes: Record<ListenerKey, number>
  /** The listener that it asked for and could not have; until it has settled in. */
  lacks: string | null
  /** It says what it answers, for a canary. */
  isCounted: boolean
  /** When it began to serve; absent: before this launcher was there, or not at all. */
  since?: number
  /** It was above --max-memory right after that. */
  isTooBig?: true
  /** Given up, but it accepts until somebody of the working generation does. */
  isStopgap?: true
  /** When it was told to drain. */
  drainsSince: number | null
  /** Why it was given up, when the launcher did that. */
  failure: string | null
}

export interface Claim {
  readonly listener: ListenerKey
  readonly backlog: number
  /** The launcher has made its socket and answered. */
  opened: boolean
  /** The program has seen 'listening'. */
  listening: boolean
  /** A listener of the library: it accepts nothing before its listener.ready(). */
  readonly says: boolean
  /** Which has been called. */
  said: boolean
}

export interface Listener {
  readonly key: ListenerKey
  readonly address: ListenAddress
  /** One socket for all slots, of slot 0: whoever serves accepts from it. */
  readonly shared: boolean
  backlog: number
  /** By slot. */
  sockets: Record<number, 'bound' | 'listening'>
  /** Slots in the order of their listen(2): the index of a socket in the reuseport group (kernel.md §3). */
  order: number[]
  /** Generations that have claimed it and have not all released it. */
  owners: number[]
  /** The working generation, while it owns this by inheritance only: none of its workers has claimed it yet. */
  awaitedBy: number | null
  /** Worker that accepts from the socket of a slot which is not its own, by slot. */
  adoptedBy: Record<number, number>
  /** Shares of new connections by index in `order`; null: the kernel's hash chooses. */
  weights: readonly number[] | null
  /** The one that gets its share before the weights choose. */
  canary: CanaryShare | null
}

export interface CanaryShare {
  /** In `order`. */
  readonly index: number
  readonly share: number
  readonly by: CanaryPlan['by']
}

export interface Slot {
  /** The generation that accepts here; null until the first one serves. */
  working: number | null
  /** Of the last handover or undo of this slot. */
  term: number
  /** Recent unexpected exits: the restart policy's input. */
  tally: Tally
  /** A restart pause runs. */
  pausing: boolean
  /** It was added, and has not served yet. */
  isJoining: boolean
  /** Absent: no worker of it was relieved so far. */
  wear?: Wear
}

/** Of the reliefs of one slot. */
export interface Wear {
  /** How many in a row were of workers that were too big from the start. */
  readonly early: number
  /** How many in a row have failed, and until when none is tried. */
  readonly failed: number
  readonly until: number
}

export interface Relief {
  readonly old: number
  readonly fresh: number
  readonly why: 'memory' | 'age'
  /** Between two looks at the limits. */
  readonly everyMs: number
  /** The fresh one serves, the old one leaves. */
  isDone: boolean
}

export interface Parked {
  /** 'letting-go': everybody is told to close his copy. 'let-go': all have said so. */
  step: 'parked' | 'letting-go' | 'let-go'
  /** A look is under way. */
  isLookedAt: boolean
  /** Orders whose answer is waited for; null: the end of that worker is. */
  awaits: { readonly worker: number; readonly seq: number | null }[]
  /** Processes that have a copy and are no workers of ours. */
  holders: number[]
  /** Others are in its group. */
  isShared: boolean
  /** Why the last look saw nobody; null: it did look. */
  error: string | null
}

export interface Scale {
  readonly from: number
  to: number
  readonly callers: number[]
  /** Why it is not what was asked for. */
  reason: string | null
}

export interface Caller {
  /** Names the one who asked, for the hands; null for a signal. */
  readonly id: number | null
  readonly wait: ReloadWait
  /** The reload is to begin with one. */
  readonly canary?: CanaryPlan
}

export interface Canary {
  readonly plan: CanaryPlan
  /** Beyond the others. */
  readonly slot: number
  /** When it was admitted; null: it is not yet. */
  since: number | null
  /** What has ended its watch well. */
  promoted: 'time' | 'order' | null
  /** How long it was watched, once it is not any more. */
  ms: number | null
  /** By worker, its own and the others', since it serves. */
  counts: Record<number, Counts>
}

export type Counts = Required<Answered>

export interface Run {
  readonly id: number
  readonly from: number
  readonly to: number
  readonly startedAt: number
  step: ReloadStep
  /** The candidate that comes before all others; null: none was asked for. */
  readonly canary: Canary | null
  /** Slots that are being replaced: every one, or with 'rolling' as many as may be at a time; the canary's, until it is promoted. */
  batch: number[]
  /** Those of them whose candidate is not started yet. */
  toStart: number[]
  /** Slots whose turn comes later. */
  rest: number[]
  /** The batch's candidates are the working ones now: from here on there is no way back but an undo. */
  committed: boolean
  /** Its old workers were told to keep their flows. */
  keepsFlows: boolean
  /** The old generation is being given the service back. */
  undo: Undo | null
  /** With 'rolling': it has failed, and goes back as soon as there is a worker of the old generation to go back to. */
  deferred: { readonly reason: string; readonly stderr: readonly string[] } | null
  /** It failed when there was nothing left to go back to: the new generation stays, whatever it is. */
  kept: boolean
  /** What a person should know of it, beside its result. */
  notes: string[]
  /** How what the candidates run differs from what the old generation runs. */
  changes: readonly Change[]
  callers: Caller[]
  workers: RunWorker[]
}

export interface Undo {
  /** When the fault was noticed. */
  readonly at: number
  readonly step: ReloadStep
  readonly reason: string
  readonly stderr: readonly string[]
  /** Milliseconds from then until the last old worker had said that it accepts again; null: none has yet. */
  ms: number | null
}

export interface RunWorker {
  readonly slot: number
  oldId: number | null
  readonly newId: number
  oldPid: number | null
  newPid: number | null
  ms: Partial<Record<RunMark, number>>
  /** Connections that were open at the old worker when it paused. */
  kept: number | null
  /** Of the one that leaves: the old one, or after an undo the new one. */
  outcome: DrainOutcome | null
  warmup: WarmupReport | null
  /** HTTP answers of the new one, and how many of them were 5xx, while they are counted. */
  answered: { responses: number; errors: number } | null
}

export type RunMark =
  | 'spawned'
  | 'claimed'
  | 'ready'
  | 'proven'
  | 'warm'
  | 'admitted'
  | 'paused'
  | 'resumed'
  | 'drained'
  | 'exited'

export interface Upgrade {
  readonly callers: number[]
  /** Then everything else is to be new, too. */
  reload: boolean
}

export interface Stop {
  /** 'drop': every copy of every socket but the live ones goes; 'drain': the workers finish; 'end': nobody is left. */
  step: 'drop' | 'drain' | 'end'
  /** How hard: grows with the second and third Ctrl-C. */
  pressure: 'drain' | 'quick' | 'now' | 'kill'
  exitCode: number
  /** Why the first start has failed; null: it has not. */
  readonly failure: string | null
  readonly callers: number[]
}

export function newSlot(): Slot {
  return { working: null, term: 0, tally: EMPTY_TALLY, pausing: false, isJoining: false }
}

export function newWorker(who: Pick<Worker, 'id' | 'slot' | 'generation' | 'role'>): Worker {
  return {
    ...who,
    state: 'spawned',
    proof: 'none',
    said: false,
    says: false,
    doubt: null,
    stuck: false,
    hung: null,
    pid: null,
    claims: {},
    orders: {},
    adopts: {},
    isFull: false,
    term: 0,
    spares: [],
    lanes: {},
    lacks: null,
    isCounted: false,
    drainsSince: null,
    failure: null,
  }
}

/** Where a warm spare is. */
export const NO_SLOT = -1

export function initialState(settings: Settings, stored: State['stored'] = {}): State {
  return {
    phase: 'starting',
    settings,
    settingsOfNext: null,
    term: 0,
    working: null,
    generations: {},
    workers: {},
    listeners: {},
    stored,
    slots: Array.from({ length: settings.slots }, newSlot),
    standby: { tally: EMPTY_TALLY, pausing: false },
    parked: {},
    steers: settings.steers,
    scale: null,
    run: null,
    waiting: null,
    retiring: [],
    upgrade: null,
    upgradeWaiting: null,
    stop: null,
    next: { worker: 1, generation: 1, seq: 1, run: 1 },
  }
}
