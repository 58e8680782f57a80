import { closeSync, fchownSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { ReadySignal } from '../control-protocol.js'
import { type Identity, type Native, native, type Poller, READABLE } from '../native.js'
import type { WorkerEvent } from './brain/events.js'
import { foreignEnvironment, type Spec, workerEnvironment } from './command.js'
import { readOomKills } from './oom-kills.js'
import type { Stream } from './output.js'
import { OutputPipe, type Sink } from './output-pipe.js'
import { type Check, fieldsOf, isFd, isText, isWhole, listOf, orAbsent, orNull } from './shape.js'
import { stderr, stdout } from './stderr.js'

/** What a worker's process tells: posted to the launcher's queue. */
type Post = (event: WorkerEvent) => void

/** What a program without our agent gets at its start: descriptors from 3 on, and variables that say so. */
export interface Handed {
  readonly fds: readonly number[]
  readonly variables: Readonly<Record<string, string>>
}

/** Both ends of a pipe that a worker is to write to, and what it writes to when nobody reads that. */
export interface PipedOutput {
  readonly stream: Stream
  readonly reader: number
  readonly writer: number
  readonly real: number
}

/** What every spawn is given, and who notes that there is one. */
interface Handing {
  readonly channel: string
  readonly preload: string
  readonly ready: ReadySignal
  readonly compat: 'pm2' | undefined
  readonly notify: string
  readonly diesWithUs: boolean
  /** As whom they run; undefined: as we do. */
  readonly identity: Identity | undefined
  /** Directory for what V8 makes of the program. */
  readonly compileCache: string | undefined
  /** Before the process is there. */
  readonly begins: (token: string) => void
  readonly ended: (token: string) => void
  /** Where the lines of a worker go, if they come to us for as long as it lives. */
  readonly lines?: ((worker: number, stream: Stream) => Sink) | undefined
}

/** Generations of processes below a worker that are looked through for one that speaks: no wrapper nests deeper. */
const DEEPEST = 64
/** Raised for processes that serve nobody yet: when memory runs out, the new goes before the old (reliability.md D-18). */
const CANDIDATE_OOM_SCORE = 200

export interface SavedProcesses {
  readonly oomKills: number | null
  readonly all: readonly SavedProcess[]
}
export interface SavedProcess {
  readonly worker: number
  readonly token: string
  readonly pid: number
  readonly startedAt: string
  readonly statusText: string | null
  /** The pidfd of the process that we started, until it is reaped. */
  readonly spawned: number | null
  readonly agent: { readonly pid: number; readonly pidfd: number } | null
  readonly ending: { readonly code: number | null; readonly signal: string | null } | null
  /** Read end of its stderr, while somebody has the other one. */
  readonly stderr: number | null
  readonly tail: readonly string[]
  readonly partial: string
  /** The same of its stdout, if that comes to us. */
  readonly stdout?: { readonly reader: number; readonly partial: string } | null
}
export const SAVED_PROCESSES: Check = fieldsOf({
  oomKills: orNull(isWhole),
  all: listOf(
    fieldsOf({
      worker: isWhole,
      token: isText,
      pid: isWhole,
      startedAt: isText,
      statusText: orNull(isText),
      spawned: orNull(isFd),
      agent: orNull(fieldsOf({ pid: isWhole, pidfd: isFd })),
      ending: orNull(fieldsOf({ code: orNull(isWhole), signal: orNull(isText) })),
      stderr: orNull(isFd),
      tail: listOf(isText),
      partial: isText,
      stdout: orAbsent(orNull(fieldsOf({ reader: isFd, partial: isText }))),
    }),
  ),
})

/** All processes of the workers. Each is watched by pidfd, from its spawn to its reaping; a bare pid is never signalled. */
export class Processes {
  readonly #byWorker = new Map<number, WorkerProcess>()
  #oomKills: number | null
  readonly #owned = new Set<number>()
  readonly #native: Native = native()
  readonly #handed: Handing
  readonly #post: Post

  /** `saved`: of another image of this process. */
  constructor({ post, saved, ...handed }: Handing & { post: Post; saved?: SavedProcesses | undefined }) {
    this.#handed = handed
    this.#post = post
    // A worker's child whose parent (npm, sh) ends must not escape: it becomes ours, and we reap it.
    this.#native.setChildSubreaper()
    process.on('SIGCHLD', this.#reapOrphans)
    this.#oomKills = saved === undefined ? readOomKills() : saved.oomKills
    for (const one of saved?.all ?? []) this.#resume(one)
    // Those that ended while nobody looked.
    if (saved !== undefined) setImmediate(this.#reapOrphans)
  }

  save(): SavedProcesses {
    return { oomKills: this.#oomKills, all: [...this.#byWorker.values()].map((one) => one.save()) }
  }

  /** A child that somebody else here waits for: it is not reaped as an orphan. Returns what ends that. */
  own(pid: number): () => void {
    this.#owned.add(pid)
    return () => {
      this.#owned.delete(pid)
      this.#reapOrphans()
    }
  }

  /**
   * Starts the process of a worker. `paths`: unix paths that are served now. `variables`: its own. `handed`: what it gets in place of our
   * agent. Throws what posix_spawn gives.
   */
  spawn(
    worker: number,
    spec: Spec,
    {
      expendable,
      paths,
      variables,
      handed,
    }: {
      expendable: boolean
      paths: readonly string[]
      variables: Readonly<Record<string, string>>
      handed: Handed | undefined
    },
  ): number {
    const token = newToken()
    this.#handed.begins(token)
    const env =
      handed === undefined
        ? workerEnvironment(spec, { ...this.#handed, token, paths, variables })
        : foreignEnvironment(spec, { ...this.#handed, ...handed })
    const started = WorkerProcess.start(
      worker,
      token,
      { ...spec, env, fds: handed?.fds, identity: this.#handed.identity, diesWithUs: this.#handed.diesWithUs },
      (event) => this.#tell(event, token),
      this.#handed.lines,
    )
    this.#add(started)
    // What a program without our agent has forked by the time it serves would keep it.
    if (expendable && handed === undefined) started.adjustOomScore(CANDIDATE_OOM_SCORE)
    return started.pid
  }

  /** Takes over a process that another launcher has started; its pidfd is ours from here on. */
  adopt(
    worker: number,
    { token, pid, pidfd, startedAt }: { token: string; pid: number; pidfd: number; startedAt: Date },
  ): void {
    const began = { worker, token, pid, startedAt: startedAt.toISOString(), statusText: null, ending: null }
    this.#resume({ ...began, spawned: null, agent: { pid, pidfd }, stderr: null, tail: [], partial: '' })
  }

  #resume(saved: SavedProcess): void {
    this.#handed.begins(saved.token)
    this.#add(WorkerProcess.resume(saved, (event) => this.#tell(event, saved.token), this.#handed.lines))
  }

  #add(started: WorkerProcess): void {
    this.#byWorker.set(started.worker, started)
  }

  #tell(event: WorkerEvent, token: string): void {
    if (event.type !== 'exited') return this.#post(event)
    this.#byWorker.delete(event.worker)
    this.#handed.ended(token)
    this.#reapOrphans()
    this.#post({ ...event, oomKill: this.#hasKilledForMemory() })
  }

  /** Whether the kernel has killed for want of memory since this was last asked. */
  #hasKilledForMemory(): boolean {
    const before = this.#oomKills
    this.#oomKills = readOomKills()
    return this.#oomKills !== null && before !== null && this.#oomKills > before
  }

  /** What workers write comes to us for as long as they live. */
  get readsAll(): boolean {
    return this.#handed.lines !== undefined
  }

  /** From here on it comes to us. Throws what pipe(2) says. */
  readAll(process: WorkerProcess): PipedOutput[] {
    return process.readAll(this.#handed.identity)
  }

  get(worker: number): WorkerProcess | undefined {
    return this.#byWorker.get(worker)
  }

  withToken(token: string): WorkerProcess | undefined {
    // At most a few dozen. Tokens are random and used once: comparing them leaks nothing that could be used later.
    return [...this.#byWorker.values()].find((process) => process.token === token)
  }

  /** The worker below whose process this one is: itself, a child of it, or one that only its group tells of. */
  ownerOf(pid: number): WorkerProcess | undefined {
    const workers = [...this.#byWorker.values()]
    let at = pid
    for (let depth = 0; depth < DEEPEST && at > 1 && at !== process.pid; depth++) {
      const owner = workers.find((worker) => worker.owns(at))
      if (owner !== undefined) return owner
      const place = placeOf(at)
      if (place === undefined) return undefined
      // Its parent has ended: it is our child now, and still in the group that its worker's spawn began.
      if (place.parent === process.pid) return workers.find((worker) => worker.leads(place.group))
      at = place.parent
    }
    return undefined
  }

  close(): void {
    process.off('SIGCHLD', this.#reapOrphans)
    for (const worker of this.#byWorker.values()) worker.close()
  }

  /**
   * Reaps children that are nobody's here: orphans of workers. The peek shows one ended child at a time; when that one belongs to a worker,
   * its pidfd will tell, and we look again after it (kernel.md §11).
   */
  readonly #reapOrphans = (): void => {
    for (;;) {
      const pid = this.#native.peekExited()
      if (pid === 0 || this.#owned.has(pid) || [...this.#byWorker.values()].some((worker) => worker.owns(pid))) return
      if (!this.#native.reap(pid)) return
    }
  }
}

/** 128 bits that nobody can guess. Node's own would load all of its cryptography (0.4 MB). */
function newToken(): string {
  const bits = Buffer.alloc(16)
  const random = openSync('/dev/urandom', 'r')
  try {
    readSync(random, bits)
  } finally {
    closeSync(random)
  }
  return bits.toString('hex')
}

/** One spawn: the process that we started and, behind wrappers such as npm or sh, the one that listens. */
export class WorkerProcess {
  readonly worker: number
  readonly token: string
  readonly pid: number
  readonly startedAt: Date
  /** What the program said of itself last, by sd_notify's STATUS. */
  statusText: string | null
  readonly #native: Native = native()
  readonly #post: Post
  readonly #lines: Handing['lines']
  /**
   * What it writes and we read: its stderr until it serves, or both for as long as it lives. None: it has ours from the start, for nobody could
   * give it those later.
   */
  readonly #outputs: Partial<Record<Stream, OutputPipe>> = {}
  #spawned: Watched | null
  #agent: Watched | null
  #ending: { code: number | null; signal: string | null } | null

  private constructor(known: SavedProcess, post: Post, lines: Handing['lines']) {
    this.worker = known.worker
    this.token = known.token
    this.pid = known.pid
    this.startedAt = new Date(known.startedAt)
    this.statusText = known.statusText
    this.#post = post
    this.#lines = lines
    this.#ending = known.ending
    const { spawned, agent } = known
    // Not watched before everything else is: what throws leaves nothing behind.
    try {
      if (known.stderr !== null) this.#pipe('stderr', known.stderr, { partial: known.partial, last: known.tail })
      if (known.stdout != null) this.#pipe('stdout', known.stdout.reader, { partial: known.stdout.partial, last: [] })
    } catch (error) {
      for (const pidfd of [spawned, agent?.pidfd]) if (pidfd != null) this.#native.close(pidfd)
      throw error
    }
    this.#spawned = spawned === null ? null : this.#watch(known.pid, spawned, () => this.#spawnedEnded())
    this.#agent = agent === null ? null : this.#watch(agent.pid, agent.pidfd, () => this.#agentEnded())
    for (const pipe of Object.values(this.#outputs)) pipe.start()
  }

  /** Not begun. */
  #pipe(stream: Stream, reader: number, before?: { partial: string; last: readonly string[] }): OutputPipe {
    const outlet = stream === 'stdout' ? stdout : stderr
    const sink = this.#lines?.(this.worker, stream) ?? { by: 'bytes', write: (data) => outlet.write(data, this.worker) }
    const pipe = new OutputPipe(reader, sink, before)
    this.#outputs[stream] = pipe
    return pipe
  }

  static start(
    worker: number,
    token: string,
    spec: Omit<Spec, 'env'> & {
      env: readonly string[]
      fds: readonly number[] | undefined
      identity: Identity | undefined
      diesWithUs: boolean
    },
    post: Post,
    lines: Handing['lines'],
  ): WorkerProcess {
    const [ours, theirs]: [number[], number[]] = [[], []]
    const pipe = (): { reader: number; writer: number } => {
      const [reader, writer] = pipeOf(spec.identity)
      ours.push(reader)
      theirs.push(writer)
      return { reader, writer }
    }
    let pid: number | null = null
    try {
      const errors = spec.fds === undefined || lines !== undefined ? pipe() : null
      const output = lines === undefined ? null : pipe()
      const nothing = openSync('/dev/null', 'r')
      theirs.push(nothing)
      const child = native().spawn({
        file: spec.file,
        argv: spec.argv,
        env: spec.env,
        cwd: spec.cwd,
        stdio: [nothing, output?.writer ?? 1, errors?.writer ?? 2],
        ...(spec.identity === undefined ? {} : { identity: spec.identity }),
        ...(spec.fds === undefined ? {} : { fds: spec.fds, pidVariable: 'LISTEN_PID' }),
        ...(spec.diesWithUs ? { diesWithParent: true } : {}),
      })
      pid = child.pid
      const startedAt = new Date().toISOString()
      const known = { worker, token, pid, startedAt, statusText: null, spawned: child.pidfd, agent: null, ending: null }
      const stdout = output === null ? null : { reader: output.reader, partial: '' }
      const stderr = errors?.reader ?? null
      return new WorkerProcess({ ...known, stderr, tail: [], partial: '', stdout }, post, lines)
    } catch (error) {
      // It runs and cannot be watched: nobody would ever end it.
      if (pid !== null) native().signalGroup(pid, constants.signals.SIGKILL)
      for (const fd of ours) closeSync(fd)
      throw error
    } finally {
      for (const fd of theirs) closeSync(fd)
    }
  }

  /** One that another image of this process has started. */
  static resume(saved: SavedProcess, post: Post, lines: Handing['lines']): WorkerProcess {
    return new WorkerProcess(saved, post, lines)
  }

  save(): SavedProcess {
    const { stdout, stderr: errors } = this.#outputs
    return {
      worker: this.worker,
      token: this.token,
      pid: this.pid,
      startedAt: this.startedAt.toISOString(),
      statusText: this.statusText,
      spawned: this.#spawned?.pidfd ?? null,
      agent: this.#agent === null ? null : { pid: this.#agent.pid, pidfd: this.#agent.pidfd },
      ending: this.#ending,
      stderr: errors?.isOpen ? errors.reader : null,
      tail: errors?.last ?? [],
      partial: errors?.partial ?? '',
      stdout: stdout?.isOpen ? { reader: stdout.reader, partial: stdout.partial } : null,
    }
  }

  /** The process that listens has introduced itself. */
  setAgent(pid: number): void {
    if (pid === this.pid || this.#agent?.pid === pid) return
    this.#agent = this.#watch(pid, this.#native.pidfdOpen(pid), () => this.#agentEnded())
  }

  get agentPid(): number {
    return this.#agent?.pid ?? this.pid
  }

  /** Whether this is the process group of the spawn. */
  leads(group: number): boolean {
    return this.#spawned !== null && group === this.pid
  }

  owns(pid: number): boolean {
    return pid === this.#spawned?.pid || pid === this.#agent?.pid
  }

  terminate(name: NodeJS.Signals): void {
    const target = this.#agent ?? this.#spawned
    if (target !== null) this.#native.pidfdSignal(target.pidfd, constants.signals[name])
  }

  kill(): void {
    // The group's number is surely ours only while its leader is not reaped.
    if (this.#spawned !== null) this.#native.signalGroup(this.pid, constants.signals.SIGKILL)
    if (this.#agent === null) return
    const { pid, pidfd } = this.#agent
    // One that we have not started leads the group of its spawn, unless a wrapper does; that number is its own while it lives.
    if (pid === this.pid && placeOf(pid)?.group === pid && this.#native.pidfdSignal(pidfd, 0))
      this.#native.signalGroup(pid, constants.signals.SIGKILL)
    this.#native.pidfdSignal(pidfd, constants.signals.SIGKILL)
  }

  /** Adds to our own oom_score_adj, for the spawned process and the one that listens (proc(5)). */
  adjustOomScore(more: number): void {
    for (const pid of new Set([this.pid, this.agentPid])) {
      try {
        const ours = Number(readFileSync('/proc/self/oom_score_adj', 'utf8'))
        writeFileSync(`/proc/${pid}/oom_score_adj`, String(Math.min(1000, ours + more)))
      } catch {
        // A hint for the kernel: without /proc, or with a process that has just ended, there is none.
      }
    }
  }

  /** Lets go of everything without a word; the processes live on. */
  close(): void {
    this.#spawned?.poller.close()
    this.#agent?.poller.close()
    if (this.#spawned !== null) this.#native.close(this.#spawned.pidfd)
    if (this.#agent !== null) this.#native.close(this.#agent.pidfd)
    this.#spawned = null
    this.#agent = null
    for (const pipe of Object.values(this.#outputs)) pipe.close()
  }

  #watch(pid: number, pidfd: number, ended: () => void): Watched {
    try {
      const poller = new this.#native.Poller(pidfd, ended)
      poller.start(READABLE)
      poller.ref()
      return { pid, pidfd, poller }
    } catch (error) {
      // The kernel's limit of what is watched (epoll(7), max_user_watches), or of memory.
      this.#native.close(pidfd)
      throw error
    }
  }

  #unwatch(watched: Watched): void {
    watched.poller.close()
    this.#native.close(watched.pidfd)
  }

  #spawnedEnded(): void {
    const spawned = this.#spawned as Watched
    try {
      this.#ending = this.#native.pidfdWait(spawned.pidfd)
      if (this.#ending === null) return
    } catch {
      this.#ending = { code: null, signal: null } // ECHILD: somebody else here has collected it, and how it ended is not known.
    }
    this.#unwatch(spawned)
    this.#spawned = null
    // A wrapper that leaves its program behind: the worker is the program, which is our child now.
    if (this.#agent === null) this.#exited()
  }

  #agentEnded(): void {
    const agent = this.#agent as Watched
    if (this.#spawned === null) this.#ending = this.#waitOrphan(agent.pidfd) ?? this.#ending
    this.#unwatch(agent)
    this.#agent = null
    if (this.#spawned === null) this.#exited()
    else this.#post({ type: 'gone', worker: this.worker })
  }

  #waitOrphan(pidfd: number): { code: number | null; signal: string | null } | null {
    try {
      return this.#native.pidfdWait(pidfd)
    } catch {
      return null // ECHILD: another wrapper between it and us has collected it.
    }
  }

  #exited(): void {
    for (const pipe of Object.values(this.#outputs)) pipe.finish()
    const { code, signal } = this.#ending ?? { code: null, signal: null }
    this.#post({ type: 'exited', worker: this.worker, code, signal, stderr: this.#outputs.stderr?.last ?? [] })
  }

  /** Read ends that are there to be lent, each with what the stream is to be once nobody reads it: ours. */
  lent(): { readonly stream: Stream; readonly reader: number; readonly real: number }[] {
    return STREAMS.flatMap(({ stream, fd }) => {
      const pipe = this.#outputs[stream]
      return pipe?.isOpen ? { stream, reader: pipe.reader, real: fd } : []
    })
  }

  /** It was started by another launcher, or has given its pipes up: two new ones, whose ends are the caller's. Throws what pipe(2) says. */
  readAll(identity: Identity | undefined): PipedOutput[] {
    const first = pipeOf(identity)
    let second: [number, number]
    try {
      second = pipeOf(identity)
    } catch (error) {
      for (const fd of first) closeSync(fd)
      throw error
    }
    return STREAMS.map(({ stream, fd }, index) => {
      const [reader, writer] = index === 0 ? first : second
      this.#pipe(stream, reader).start()
      return { stream, reader, real: fd, writer }
    })
  }
}

/** Of whoever runs the program, who may open it by its name then (/dev/stdout). */
function pipeOf(identity: Identity | undefined): [reader: number, writer: number] {
  const ends = native().pipe(true)
  try {
    if (identity !== undefined) fchownSync(ends[1], identity.uid, identity.gid)
  } catch {
    // Without CAP_CHOWN: most programs write to what they have.
  }
  return ends
}

const STREAMS = [
  { stream: 'stdout', fd: 1 },
  { stream: 'stderr', fd: 2 },
] as const

/** Parent and process group, from /proc (proc(5)); undefined when it has ended. */
function placeOf(pid: number): { parent: number; group: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may hold spaces and parentheses itself.
    const [, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { parent: Number(parent), group: Number(group) }
  } catch {
    return undefined
  }
}

interface Watched {
  readonly pid: number
  readonly pidfd: number
  readonly poller: Poller
}
