/**
 * What the control socket answers: HTTP with JSON over a unix socket of mode 0600.
 *
 *   GET  /status               Status; ?watch=MS: workers count their HTTP answers from now on, until nobody has asked so for MS
 *   GET  /events               the launcher's log from now on, as lines of JSON, until the connection or the launcher ends
 *   POST /reload?wait=…        Verdict, once the reload has come as far as `wait` says ('none': {queued: true} at once)
 *   POST /scale?to=N           ScaleVerdict, once the new workers serve and the old ones leave; by=N or by=-N: relative to what was asked last
 *        &canary=0.1&for=120000  … with a canary first; and by=random|client, max5xx=0.01, maxLatency=2. 409 {code, message, facts, next}: it
 *                             cannot be had
 *   POST /promote?wait=…      the canary that is watched has passed: the Verdict of its reload. 409: none is
 *   POST /abort               the reload that runs is given up, or undone: its Verdict. 409: none runs
 *   POST /upgrade             UpgradeVerdict, of the launcher that goes on: the new one, or this one if that could not take its place
 *   POST /stop                 {stopped: true}, as long as the connection: its end of file is the launcher's end
 *
 * Anything else: 404 or 405, with {code, message}. Fields are only added within a schema number.
 */

import type { ByKind, CutRequest, Held } from './protocol.js'

export type LauncherState = 'starting' | 'serving' | 'reloading' | 'baking' | 'degraded' | 'stopping' | 'orphaned'
export type WorkerState = 'spawned' | 'claimed' | 'ready' | 'serving' | 'paused' | 'draining' | 'stopping' | 'exited'
export type GenerationState = 'starting' | 'ready' | 'working' | 'paused' | 'retiring' | 'retired' | 'aborted'

export interface Status {
  readonly schema: 1
  readonly name: string
  /** The launcher's; null: there is none, and the workers serve on. */
  readonly pid: number | null
  readonly version: string
  /** Of the launcher: process.version. */
  readonly node: string
  /** Start of the launcher, and of what it is now if it was upgraded since; ISO 8601. */
  readonly startedAt: string
  readonly upgradedAt: string | null
  readonly state: LauncherState
  readonly term: number
  /** Number of the working generation; null before the first one serves. */
  readonly working: number | null
  readonly generations: readonly {
    readonly number: number
    readonly state: GenerationState
    /** Slots that have a worker of this generation. */
    readonly workers: readonly number[]
  }[]
  readonly slots: readonly {
    readonly slot: number
    readonly worker: WorkerStatus | null
    /** Slot of the worker that accepts from this slot's sockets meanwhile. */
    readonly adoptedBy: number | null
  }[]
  /** Workers that are not (any more, or yet) the one of their slot: candidates, old ones that are kept paused, and those that leave. */
  readonly beside: readonly (WorkerStatus & { readonly slot: number })[]
  /** Warm spares. `isReady`: it can take a slot now. */
  readonly standby: readonly { readonly pid: number; readonly generation: number; readonly isReady: boolean }[]
  /** Workers that finish what they have, or have got the stop signal. */
  readonly leaving: readonly LeavingWorker[]
  readonly listeners: readonly {
    /** Key of the listener, e.g. "tcp *:3000". */
    readonly address: string
    readonly backlog: number
    /** One socket for all workers, and of slot 0: of a unix path, or given to the launcher. Else each slot has its own. */
    readonly shared: boolean
    /** It was given to the launcher by socket activation (LISTEN_FDS). */
    readonly activated: boolean
    readonly sockets: readonly SocketStatus[]
  }[]
  readonly steering: 'cbpf' | 'none'
  /** The scale that runs, or waits; null: none does. */
  readonly scale: { readonly from: number; readonly to: number } | null
  /** The reload that runs, up to the end of its bake; null: none does. */
  readonly reload: ReloadProgress | null
  readonly lastReload: Verdict | null
  /** When its verdict was given, ISO 8601; null: there was none. */
  readonly lastReloadAt: string | null
  readonly warnings: readonly { readonly code: string; readonly text: string }[]
}

export interface ReloadProgress {
  readonly id: number
  readonly step: ReloadStep
  readonly from: number
  readonly to: number
  /** Milliseconds since it began. */
  readonly ms: number
  /** Its canary, while it has one; `leftMs`: until it is promoted, while it is watched. */
  readonly canary: (CanaryReport & { readonly leftMs: number | null }) | null
  /** Requests (calls and signals) that came since, for the one further reload that covers them all. */
  readonly waiting: number
  readonly slots: readonly {
    readonly slot: number
    readonly oldPid: number | null
    readonly newPid: number | null
    /** What the new worker is doing, in a word. */
    readonly phase: ReloadPhase
  }[]
}

export type ReloadPhase =
  | 'waiting'
  | 'starting'
  | 'claimed'
  | 'probing'
  | 'ready'
  | 'serving'
  | 'baking'
  | 'done'
  | 'leaving'
  | 'ended'

export interface WorkerStatus {
  readonly pid: number
  readonly generation: number
  readonly state: WorkerState
  /** Start time, ISO 8601. */
  readonly startedAt: string
  /** Open ones, with those of its node:cluster children; null: it has not said so at once. */
  readonly connections: number | null
  /** HTTP answers since somebody watches (`?watch=MS`); null: they are not counted. */
  readonly requests: number | null
  /** How long its event loop took to answer; null: it has not at once. */
  readonly lagMs: number | null
  /** Memory in RAM (bytes), and processor time since its start, of that process alone; null: not known. */
  readonly rss: number | null
  readonly cpuMs: number | null
  /** What the program said of itself last (sd_notify's STATUS; only with `--ready notify`); null: nothing. */
  readonly text: string | null
  /** Why siblings see to its sockets: it does not answer. null: it does. */
  readonly stuck: string | null
}

export interface LeavingWorker {
  readonly slot: number
  readonly pid: number | null
  readonly generation: number
  readonly state: WorkerState
  /** Milliseconds since it was told to drain, and until what it still has is cut; null: it was not told to. */
  readonly ms: number | null
  readonly leftMs: number | null
  /** Open connections by kind, when it last said so. */
  readonly held: Held
}

export interface SocketStatus {
  readonly slot: number
  readonly inode: number
  /** Connections that wait to be accepted, of UDP bytes that wait to be read; null for unix listeners and sockets that do not listen yet. */
  readonly queue: number | null
  /** Datagrams that were lost because the socket had no room for them; null if it is none of UDP. */
  readonly dropped: number | null
  /** Its slot is gone: siblings accept from it until it can be closed. */
  readonly parked: boolean
  /** Pids that hold a copy: the launcher, and each worker it was sent to. */
  readonly holders: readonly number[]
}

/** How far a reload must have come before its answer: every new worker serves · the bake has ended · every old worker has gone. */
export type ReloadWait = 'admitted' | 'baked' | 'retired'

/**
 * What a worker says when it may be trusted with a probe: 'message': process.send('ready'); 'notify': READY=1 (sd_notify). In place of all of
 * them: listener.ready() of a program that uses the library. 'alive': of a program without our agent, that it has not ended for a while.
 */
export type ReadySignal = 'listening' | 'message' | 'notify' | 'alive'

/** 'all': every candidate proves itself, then all are admitted together. 'rolling': slot by slot, for memory. */
export type Strategy = 'all' | 'rolling'

/** Something that the new generation runs with and the old one did not: working directory, program, an environment variable. */
export interface Change {
  /** "directory", "program", "environment FOO". Never the value of a variable: names only, `from` and `to` say whether it was there. */
  readonly what: string
  readonly from: string | null
  readonly to: string | null
}

export type ReloadStep = 'resolve' | 'start' | 'ready' | 'probe' | 'admit' | 'canary' | 'handover' | 'bake' | 'retire'

export interface Verdict {
  readonly id: number
  readonly result: 'done' | 'aborted' | 'undone' | 'stopped'
  /** Step that the reload reached, or in which it failed. */
  readonly step: ReloadStep
  /** Why it did not get further; null when done. */
  readonly reason: string | null
  /** Last lines on stderr of the candidate that failed. */
  readonly stderr: readonly string[]
  /** What the new generation runs differently. */
  readonly changes: readonly Change[]
  readonly from: number | null
  readonly to: number
  /** After a fault in the bake: when the old generation accepted again. null: nothing was undone. */
  readonly undo: UndoVerdict | null
  /** What a person should know of it, beside its result. */
  readonly notes: readonly string[]
  /** null: it was asked for without one. */
  readonly canary: CanaryReport | null
  readonly workers: readonly WorkerVerdict[]
  /** Workers that are still on their way out: the old ones, or after an undo the new ones. */
  readonly draining: number
  /** null: /proc does not tell. */
  readonly kernel: KernelCounters | null
}

/** How a canary is to be. */
export interface CanaryPlan {
  /** Of new connections, above 0 and below 1. */
  readonly share: number
  /** 'random': each connection anew. 'client': by the client's address, the same ones for as long as it is there. */
  readonly by: 'random' | 'client'
  /** How long it is watched before it is promoted. */
  readonly forMs: number
  /** Share (0…1) of 5xx answers above which it is undone; null: as in the bake. */
  readonly max5xx: number | null
  /** How many times as long as the others' its answers may take (95 % of each); null: not judged. */
  readonly maxLatency: number | null
}

export interface CanaryReport {
  /** Beyond those of the others. */
  readonly slot: number
  readonly pid: number | null
  readonly share: number
  readonly by: CanaryPlan['by']
  /** Milliseconds that it has been watched; null: it has not served yet. */
  readonly ms: number | null
  /** What ended the watch well: its time, or `reload --promote`; null: nothing has. */
  readonly promoted: 'time' | 'order' | null
  /** Of the canary, and of the working generation, in that time. */
  readonly canary: Served
  readonly others: Served
}

export interface Served {
  /** That were accepted. */
  readonly connections: number
  /** HTTP answers, and those of them with a status of 500 or more. */
  readonly responses: number
  readonly errors: number
  /** Within so many milliseconds from the head of a request half, and 95 %, of the answers were out; null: there were none. */
  readonly p50Ms: number | null
  readonly p95Ms: number | null
}

/** Why something cannot be done, and what to do about it. */
export interface Refusal {
  /** Absent: ERR_CANARY. */
  readonly code?: 'ERR_MEMORY'
  readonly reason: string
  readonly facts: Readonly<Record<string, string | number | boolean>>
  readonly next: string
}

/** A launcher, by what it runs. */
export interface LauncherVersion {
  readonly version: string
  /** As process.version. */
  readonly node: string
}

/** Answer to a request to put a new launcher in the place of the one that runs. */
export interface UpgradeVerdict {
  /** 'refused': it goes on as it was, and `reason` says why. */
  readonly result: 'done' | 'refused' | 'stopped'
  readonly reason: string | null
  /** What the new one said on stderr when it was tried, if it was refused: the last lines. */
  readonly stderr: readonly string[]
  /** null: it did not come so far. */
  readonly from: LauncherVersion | null
  readonly to: LauncherVersion | null
  /** Milliseconds in which no launcher acted; null: it was not replaced. */
  readonly gapMs: number | null
}

/** Most slots of a launcher. */
export const MAX_WORKERS = 1_024

/** Answer to a request for another number of workers. */
export interface ScaleVerdict {
  /** 'refused': no such number. 'aborted': a new worker failed; those that served before still do, and `to` says how many. */
  readonly result: 'done' | 'aborted' | 'stopped' | 'refused'
  readonly from: number
  readonly to: number
  readonly reason: string | null
  /** Workers of slots that are gone that are still there. */
  readonly draining: number
  /** Slots that are gone whose sockets are still open: siblings accept from them. */
  readonly parked: readonly number[]
}

export interface UndoVerdict {
  /** Milliseconds from the moment the fault was noticed to the last old worker's word that it accepts again; null: none of them said so. */
  readonly ms: number | null
}

export interface WorkerVerdict {
  readonly slot: number
  readonly oldPid: number | null
  readonly newPid: number | null
  /** Milliseconds since the reload began, per step that this slot has reached. */
  readonly ms: Partial<
    Record<
      'spawned' | 'claimed' | 'ready' | 'proven' | 'warm' | 'admitted' | 'paused' | 'resumed' | 'drained' | 'exited',
      number
    >
  >
  /** Connections that the old worker had open when it paused, and went on answering; null: not known. */
  readonly kept: number | null
  /** What it was asked before it was admitted; null: nothing, or it did not come to that. */
  readonly warmup: WarmupReport | null
  /** HTTP answers of the new worker in the bake, and those of them with a status of 500 or more; null: not counted. */
  readonly answered: { readonly responses: number; readonly errors: number } | null
  /** Connections of the worker that leaves: given to the other one, ended by a last answer or after the linger, cut at the deadline. */
  readonly moved: number
  readonly closed: number
  readonly cut: number
  /** The same by kind of connection; kinds that there were none of are left out. */
  readonly kinds: ByKind<KindVerdict>
  /** What was cut in the middle, as far as it is known: 20 at most. */
  readonly requests: readonly CutRequest[]
  /** How many more there were. */
  readonly moreRequests: number
}

export interface WarmupReport {
  /** As many as were to be made, and as many as were answered. */
  readonly requests: number
  readonly answered: number
  /** Answers with a status of 400 or more. */
  readonly bad: number
  /** How long the first one took, and the median of the last tenth, in milliseconds; null: there was none. */
  readonly firstMs: number | null
  readonly lastMs: number | null
  /** All of it. */
  readonly ms: number
  /** Why not all were answered. */
  readonly trouble: string | null
}

export interface KindVerdict {
  readonly moved: number
  readonly closed: number
  readonly cut: number
}

/** Change of the kernel's counters over the reload. `shared`: of a network namespace that others use too, so not ours alone. */
export interface KernelCounters {
  readonly shared: boolean
  readonly OutRsts: number
  readonly ListenDrops: number
  readonly ListenOverflows: number
}
