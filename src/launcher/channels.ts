import type { Log } from '../log.js'
import { type Fds, type Native, native, type Poller, READABLE } from '../native.js'
import { addHeld, addOutcomes } from '../outcomes.js'
import {
  type Answered,
  addAnswered,
  type DrainOutcome,
  type Held,
  type Hello,
  type ListenerKey,
  listenerKey,
  type Order,
  type OrphanTerms,
  PROTOCOL_VERSION,
  type Rejoin,
  type Report,
  type SocketName,
} from '../protocol.js'
import type { Agents, Connect, HandAnswer, Load } from './agents.js'
import type { BrainOrder, ClaimAnswer } from './brain/events.js'
import { now } from './clock.js'
import type { NewEvent } from './event-queue.js'
import type { FigureFiles, Told } from './figure-files.js'
import type { Beat, Patience } from './heartbeat.js'
import { Hearts } from './hearts.js'
import { claimsOf, Offers, offeredOf } from './offers.js'
import { Pending, SAVED_PENDING, type SavedPending } from './pending.js'
import { doingOf } from './process-state.js'
import type { PipedOutput, Processes, WorkerProcess } from './processes.js'
import { Questions } from './questions.js'
import { isRejoin, parseReport } from './report.js'
import { type Check, fieldsOf, isAnything, isFd, isWhole, listOf, pairsOf, recordOf } from './shape.js'
import type { Sockets } from './sockets.js'
import { judge, type Standing } from './welcome.js'
import { SAVED_CHANNEL, type SavedChannel, WorkerChannel } from './worker-channel.js'

/** Connections that may wait while the launcher is busy: every worker of a large machine at once. */
const CHANNEL_BACKLOG = 511

/** Until the next try to accept when descriptors have run out: long enough not to spin, short for a worker that waits (10 s, its ANSWER_MS). */
const ACCEPT_PAUSE_MS = 200

export interface SavedChannels {
  readonly fd: number
  readonly nextId: number
  readonly all: readonly SavedChannel[]
  readonly leftBehind: readonly (readonly [number, Held])[]
  readonly pending: SavedPending
}
export const SAVED_CHANNELS: Check = fieldsOf({
  fd: isFd,
  nextId: isWhole,
  all: listOf(SAVED_CHANNEL),
  leftBehind: pairsOf(isWhole, recordOf(isAnything)),
  pending: SAVED_PENDING,
})

/**
 * The launcher's end of all channels. Each worker has one channel per thread that listens; to the brain it is one worker: an order goes to
 * those it concerns and counts as answered when all of them have answered, claims are told apart by channel.
 */
export class Channels implements Agents {
  readonly #native: Native = native()
  readonly #processes: Processes
  readonly #sockets: Sockets
  readonly #standing: (worker: number) => Standing | null
  readonly #post: (event: NewEvent) => void
  readonly #log: Log
  readonly #fd: number
  readonly #poller: Poller
  readonly #all = new Set<WorkerChannel>()
  readonly #pending: Pending
  readonly #questions: Questions
  /** With `--metrics`. */
  #figures: FigureFiles | undefined
  readonly #terms: OrphanTerms | undefined
  readonly #knownTokens: ReadonlySet<string> | null
  /** Workers of a launcher that is gone. */
  readonly offers: Offers
  /** What draining workers had in hand when a channel of theirs ended, which comes before the end of the process, or after it. */
  readonly #leftBehind: Map<number, Held>
  readonly #patience: Patience
  readonly #uid: number | undefined
  /** Unless nobody waits for one that does not turn. */
  readonly #hearts: Hearts | undefined
  #pause: NodeJS.Timeout | undefined
  #nextId: number

  constructor(options: {
    path: string
    letWorkersIn: (path: string) => void
    /** Of the workers, if it is not ours. */
    uid: number | undefined
    processes: Processes
    sockets: Sockets
    standing: (worker: number) => Standing | null
    post: (event: NewEvent) => void
    patience: Patience
    /** What a worker does when we are gone. */
    terms: OrphanTerms | undefined
    /** Of the spawns of the launcher before this one; null: it has left no word of them. */
    knownTokens: ReadonlySet<string> | null
    log: Log
    /** Of another image of this process. */
    saved: SavedChannels | undefined
  }) {
    const { saved } = options
    this.#patience = options.patience
    this.#uid = options.uid
    this.#processes = options.processes
    this.#sockets = options.sockets
    this.#standing = options.standing
    this.#post = options.post
    this.#log = options.log
    this.#leftBehind = new Map(saved?.leftBehind)
    this.#nextId = saved?.nextId ?? 1
    this.#pending = new Pending(options.post, saved?.pending.nextSeq)
    this.#terms = options.terms
    this.#knownTokens = options.knownTokens
    this.offers = new Offers({
      pending: this.#pending,
      sockets: options.sockets,
      terms: options.terms,
      log: options.log,
    })
    this.#questions = new Questions({
      pending: this.#pending,
      of: (worker) => this.#of(worker),
      standing: options.standing,
      log: options.log,
    })
    this.#fd = saved?.fd ?? this.#listen(options.path, options.letWorkersIn)
    this.#poller = new this.#native.Poller(this.#fd, () => this.#accept())
    this.#poller.start(READABLE)
    this.#poller.ref()
    if (this.#patience.timeoutMs > 0) this.#hearts = new Hearts(this.#patience, this.#pending)
    if (saved !== undefined) this.#resume(saved)
  }

  #listen(path: string, letWorkersIn: (path: string) => void): number {
    const fd = this.#native.socket('unix', 'seqpacket')
    this.#native.bindUnix(fd, path)
    letWorkersIn(path)
    this.#native.listen(fd, CHANNEL_BACKLOG)
    return fd
  }

  #resume({ all, pending }: SavedChannels): void {
    for (const one of all) {
      const process = one.worker === null ? null : this.#processes.get(one.worker)
      // Its worker has ended, and nothing more will come from it.
      if (process === undefined) native().closeAll([one.fd, ...one.unsent.flatMap(({ fds }) => fds)])
      else this.#add(one.id, one.fd, one).process = process
    }
    this.#pending.resume(pending, [...this.#all])
    for (const channel of this.#joined()) this.#hearts?.begin(channel)
  }

  save(): SavedChannels {
    return {
      fd: this.#fd,
      nextId: this.#nextId,
      all: [...this.#all].map((channel) => channel.save()),
      leftBehind: [...this.#leftBehind],
      pending: this.#pending.save(),
    }
  }

  get asks(): boolean {
    return this.#pending.asks
  }

  giveUpAsking(): void {
    this.#pending.giveUpAsking()
  }

  close(): void {
    clearTimeout(this.#pause)
    this.#hearts?.close()
    this.#poller.close()
    this.#native.close(this.#fd)
    this.#figures?.close()
    for (const channel of this.#all) channel.close()
    this.#all.clear()
  }

  /** Its agent will say hello. */
  spawned(): void {}

  /** Answers a claim on the channel it came from, with the slot's socket. */
  answer(worker: number, claim: string, answer: ClaimAnswer): void {
    const [channelId, id] = claim.split(':').map(Number) as [number, number]
    const channel = [...this.#all].find((other) => other.id === channelId && other.process?.worker === worker)
    if (channel === undefined) return
    if (answer.mode === 'hold' || answer.mode === 'go') {
      const { mode, listener, slot, lingerMs } = answer
      channel.claims.set(id, listener)
      channel.send({ type: 'claimed', id, mode, listener, lingerMs, fds: [{ listener, slot }] }, [
        this.#sockets.fd({ listener, slot }),
      ])
    } else if (answer.mode === 'failed')
      channel.send({ type: 'claimed', id, mode: 'failed', errno: answer.errno, code: answer.code })
    else channel.send({ type: 'claimed', id, mode: 'unmanaged' })
  }

  /** Gives an order to the channels of a worker that it concerns. */
  order(worker: number, seq: number, order: BrainOrder): void {
    if (order.type === 'stderr' && this.#processes.readsAll) return this.#post({ type: 'acked', worker, seq })
    const [message, fds] = this.#compose(seq, order)
    const channels = this.#of(worker).filter((channel) => concerns(order, channel))
    this.#pending.give(worker, message, channels, fds)
  }

  #compose(seq: number, order: BrainOrder): [Order, number[]] {
    const fd = (socket: SocketName): number => this.#sockets.fd(socket)
    switch (order.type) {
      case 'adopt':
        return [{ type: 'adopt', seq, fds: [order.socket] }, [fd(order.socket)]]
      case 'seat':
        return [{ type: 'seat', seq, slot: order.slot, fds: order.sockets }, order.sockets.map(fd)]
      case 'spares': {
        const add = order.add.filter((socket) => this.#sockets.has(socket))
        return [{ type: 'spares', seq, fds: add, drop: order.drop }, add.map(fd)]
      }
      case 'stderr':
        return [{ type: 'stderr', seq, fds: ['stderr'] }, [2]]
      default:
        return [{ ...order, seq }, []]
    }
  }

  wayTo(worker: number, port: number | undefined): Connect {
    const { handing } = require('./probe/pair.js') as typeof import('./probe/pair.js')
    return handing((fd, answered) => this.hand(worker, port, fd, answered))
  }

  hand(worker: number, port: number | undefined, fd: number, answered: (answer: HandAnswer) => void): () => void {
    return this.#questions.hand(worker, port, fd, answered)
  }

  layLane(listener: ListenerKey, from: number, to: number): void {
    this.#questions.layLane(listener, from, to)
  }

  loads(watchMs?: number): Promise<Map<number, Load>> {
    return this.#questions.loads([...this.#all], watchMs)
  }

  /** Loaded only when it is asked for. */
  measure(tell: (told: Told) => void): void {
    const { FigureFiles } = require('./figure-files.js') as typeof import('./figure-files.js')
    this.#figures = new FigureFiles(this.#pending, tell)
    for (const channel of this.#joined()) this.#figures.begin(channel)
  }

  async look(withinMs: number): Promise<number> {
    return (await this.#figures?.look(this.#joined(), withinMs)) ?? 0
  }

  #joined(): WorkerChannel[] {
    return [...this.#all].filter(({ process }) => process !== null)
  }

  shutdown(worker: number, answered: (heard: boolean) => void): void {
    this.#questions.shutdown(worker, answered)
  }

  #accept(): void {
    for (let fd = this.#take(); fd !== null; fd = this.#take()) this.#add(this.#nextId++, fd)
  }

  #add(id: number, fd: number, saved?: SavedChannel): WorkerChannel {
    const on = {
      readable: (channel: WorkerChannel) => this.#readAll(channel),
      beat: (channel: WorkerChannel, beat: Beat) => this.#beatOf(channel, beat),
      patience: this.#patience,
    }
    const channel = new WorkerChannel(id, fd, on, saved)
    this.#all.add(channel)
    return channel
  }

  /** The next connection; null when none waits, or none can be taken now. */
  #take(): number | null {
    try {
      return this.#native.accept(this.#fd)
    } catch (error) {
      // No descriptor or no memory is left (accept(2)). What waits keeps the poller busy, so it is not looked at for a while.
      this.#log('warn', 'channel.full', { reason: (error as Error).message })
      this.#poller.start(0)
      this.#pause = setTimeout(() => this.#poller.start(READABLE), ACCEPT_PAUSE_MS)
      return null
    }
  }

  #readAll(channel: WorkerChannel): void {
    for (;;) {
      const packet = channel.receive()
      if (packet === 'empty') return
      if (packet === 'end') return this.#closed(channel)
      channel.heartbeat.heard()
      let report: Report
      try {
        if (packet.truncated) throw new Error('it was too large')
        report = parseReport(packet.data)
      } catch (error) {
        native().closeAll(packet.fds)
        this.#malformed(channel, (error as Error).message)
        continue
      }
      this.#receive(channel, report, packet.fds)
    }
  }

  #receive(channel: WorkerChannel, report: Report, fds: Fds): void {
    if (channel.offer !== null) return this.offers.heard(channel, channel.offer, report, fds)
    if (report.type === 'sockets') return native().closeAll(fds)
    if (fds.length > 0) {
      native().closeAll(fds)
      return this.#drop(channel, `it sent ${fds.length} descriptors with ${report.type}`)
    }
    const { process } = channel
    if (process === null) {
      if (report.type === 'hello') this.#welcome(channel, report)
      else this.#drop(channel, `its first message was ${String(report.type)}`)
      return
    }
    const { worker } = process
    switch (report.type) {
      case 'claim':
        return this.#post({
          type: 'claim',
          worker,
          claim: `${channel.id}:${report.id}`,
          address: report.address,
          backlog: report.backlog,
          says: report.ready === 'program',
        })
      case 'listening':
        return this.#post({ type: 'listening', worker, claim: `${channel.id}:${report.id}` })
      case 'ready':
        if (report.id === undefined) return this.#post({ type: 'ready', worker })
        return this.#post({ type: 'ready', worker, claim: `${channel.id}:${report.id}` })
      case 'released':
        channel.claims.delete(report.id)
        return this.#post({ type: 'released', worker, claim: `${channel.id}:${report.id}` })
      case 'ack':
      case 'nack':
        return this.#pending.answered(channel, report)
      case 'answered':
        return this.#counted(channel, worker, report)
      case 'drained':
        return this.#drained(channel, worker, report.outcome)
      case 'draining':
        channel.held = { ...report, at: now() }
        return
      case 'closed-early':
        return this.#post({ type: 'closed-early', worker, call: report.call, cut: report.cut, open: report.open })
      case 'warning':
        return this.#log('warn', 'worker.warning', {
          slot: this.#standing(worker)?.slot,
          pid: channel.peer.pid,
          code: report.code,
          text: report.message,
        })
      case 'unknown':
        return this.#log('warn', 'worker.unknown-message', { pid: channel.peer.pid, of: report.of })
      case 'hello':
        return this.#drop(channel, 'it said hello twice')
      default:
        channel.send({ type: 'unknown', of: String((report as { type: unknown }).type) })
    }
  }

  /** Of several threads one that is stuck is enough; the worker is back when none is. */
  #beatOf(channel: WorkerChannel, beat: Beat): void {
    const worker = channel.process?.worker
    if (worker === undefined) return
    if (beat.is === 'back') {
      if (!this.#of(worker).some(({ heartbeat }) => heartbeat.isLost)) this.#post({ type: 'heartbeat-back', worker })
      return
    }
    const doing = doingOf(channel.peer.pid)
    this.#post({ type: beat.is === 'hung' ? 'hung' : 'heartbeat-lost', worker, ms: beat.ms, doing })
  }

  /** HTTP answers of a worker are those of all its threads. */
  #counted(channel: WorkerChannel, worker: number, answered: Answered): void {
    channel.answered = answered
    this.#post({ type: 'answered', worker, ...addAnswered(this.#of(worker).map((other) => other.answered)) })
  }

  /** A worker has drained when every thread of it has. */
  #drained(channel: WorkerChannel, worker: number, outcome: DrainOutcome): void {
    channel.outcome = outcome
    const outcomes = this.#of(worker).map((other) => other.outcome)
    if (outcomes.some((other) => other === null)) return
    this.#post({ type: 'drained', worker, outcome: addOutcomes(outcomes.filter((other) => other !== null)) })
  }

  /** What a worker has in hand while it drains; nothing when it has done so. */
  held(worker: number): Held {
    return addHeld(this.#of(worker).map((channel) => channel.heldNow()))
  }

  /** Of a worker that has ended: reads what it said before, and gives what it had in hand if it had not drained. */
  lastWords(worker: number): Held {
    for (const channel of this.#of(worker)) this.#readAll(channel)
    const held = addHeld([this.#leftBehind.get(worker) ?? {}, this.held(worker)])
    this.#leftBehind.delete(worker)
    return held
  }

  #of(worker: number): WorkerChannel[] {
    return [...this.#all].filter((channel) => channel.process?.worker === worker)
  }

  #welcome(channel: WorkerChannel, hello: Hello): void {
    const { pid } = channel.peer
    const judgement = judge(channel, hello, {
      processes: this.#processes,
      standing: this.#standing,
      knownTokens: this.#knownTokens,
      of: (worker) => this.#of(worker),
      uid: this.#uid,
    })
    if ('orphan' in judgement) return this.#come(channel, hello, judgement.orphan)
    if ('drop' in judgement) return this.#drop(channel, judgement.drop)
    if ('code' in judgement) {
      const { code, message } = judgement
      this.#log('warn', 'channel.refused', { pid, code, text: message })
      return channel.send({ type: 'refused', code, message })
    }
    const { owner, standing } = judgement
    const others = this.#of(owner.worker)
    channel.process = owner
    const isFirst = others.length === 0
    const isBack = hello.rejoin !== undefined
    const lent = isFirst && !(isBack && this.#processes.readsAll) ? owner.lent() : []
    channel.isFirst = isFirst
    channel.send(
      {
        type: 'welcome',
        version: PROTOCOL_VERSION,
        ...standing,
        first: isFirst,
        ...(this.#terms === undefined ? {} : { orphan: this.#terms }),
        fds: lent.flatMap(({ stream }) => [`${stream}-reader`, stream] as const),
      },
      lent.flatMap(({ reader, real }) => [reader, real]),
    )
    this.#hearts?.begin(channel)
    this.#figures?.begin(channel)
    // It has given the others up.
    if (isFirst && isBack) this.#readOutput(channel, owner)
    this.#post({ type: 'hello', worker: owner.worker, pid })
    if (hello.rejoin !== undefined) this.#rejoined(channel, owner.worker, hello.rejoin)
    // It may have lost its channel while it was stuck.
    if (isFirst) this.#post({ type: 'heartbeat-back', worker: owner.worker })
  }

  /** Its claims are where they were, but the channel is another one. */
  #rejoined(channel: WorkerChannel, worker: number, rejoin: Rejoin): void {
    if (!isRejoin(rejoin)) return
    noteClaims(channel, rejoin)
    this.#post({ type: 'rejoined', worker, claims: claimsOf(channel, rejoin) })
  }

  #come(channel: WorkerChannel, hello: Hello, rejoin: Rejoin): void {
    try {
      this.offers.come(channel, hello, rejoin, (offer) => this.#post({ type: 'latecomer', offered: offeredOf(offer) }))
    } catch (error) {
      this.#drop(channel, `process ${channel.peer.pid} cannot be watched: ${(error as Error).message}`)
    }
  }

  join(id: number, worker: number): void {
    const offer = this.offers.remove(id)
    if (offer === undefined) return
    this.#processes.adopt(worker, offer)
    const process = this.#processes.get(worker) as WorkerProcess
    for (const { channel, rejoin } of offer.channels) {
      channel.offer = null
      channel.process = process
      noteClaims(channel, rejoin)
      this.#hearts?.begin(channel)
      this.#figures?.begin(channel)
    }
    const [first] = offer.channels
    if (first !== undefined) this.#readOutput(first.channel, process)
    for (const { channel, report } of offer.early) if (this.#all.has(channel)) this.#receive(channel, report, [])
  }

  /** What it writes comes to us from here on, if that is asked for. */
  #readOutput(channel: WorkerChannel, process: WorkerProcess): void {
    if (!this.#processes.readsAll) return
    let pipes: PipedOutput[]
    try {
      pipes = this.#processes.readAll(process)
    } catch (error) {
      // No descriptor is left: its lines go without a name.
      return this.#log('warn', 'output.unnamed', { pid: channel.peer.pid, reason: (error as Error).message })
    }
    const fds = pipes.flatMap(({ stream }) => [`${stream}-writer`, `${stream}-reader`, stream] as const)
    const given = pipes.flatMap(({ writer, reader, real }) => [writer, reader, real])
    this.#pending.ask(channel, { type: 'output', fds }, given, () => {})
    for (const { writer } of pipes) this.#native.close(writer)
  }

  /** From a stranger it is the end. A worker keeps its channel: without it the next reload could not tell it to pause. */
  #malformed(channel: WorkerChannel, reason: string): void {
    if (channel.process === null) return this.#drop(channel, `it sent no message of ours: ${reason}`)
    if (channel.isSuspect) return
    channel.isSuspect = true
    this.#log('warn', 'channel.malformed', { pid: channel.peer.pid, reason, text: 'further ones are not shown' })
  }

  #drop(channel: WorkerChannel, reason: string): void {
    this.#log('warn', 'channel.dropped', { pid: channel.peer.pid, reason })
    channel.close()
    this.#closed(channel)
  }

  #closed(channel: WorkerChannel): void {
    if (!this.#all.delete(channel)) return
    if (channel.offer !== null) this.offers.closed(channel, channel.offer)
    const { process } = channel
    // A worker is rid of a thread that was stuck; one that says nothing more at all has not come back.
    if (process !== null && this.#of(process.worker).length > 0) channel.heartbeat.heard()
    else channel.heartbeat.end()
    this.#pending.closed(channel)
    if (process === null) return
    this.#hearts?.closed(channel)
    this.#figures?.closed(channel)
    const left = this.#leftBehind.get(process.worker)
    if (channel.held !== null) this.#leftBehind.set(process.worker, addHeld([left ?? {}, channel.heldNow()]))
    if (channel.claims.size === 0) return
    // A thread has ended, or its whole process has. If the process still answers on another channel it was the thread: then its claims
    // are released. A dying process releases nothing: its queues must wait for the next worker.
    const other = this.#of(process.worker)[0]
    if (other === undefined) return
    const claims = [...channel.claims.keys()]
    const standing = this.#standing(process.worker)
    if (standing === null) return
    const { worker } = process
    const tell = (): void => {
      if (!this.#all.has(other)) return
      for (const id of claims) this.#post({ type: 'released', worker, claim: `${channel.id}:${id}` })
    }
    this.#pending.ask(other, { type: 'term', term: standing.term, working: standing.working }, [], tell)
  }
}

/** Spare copies and stderr belong to the process: its first channel. An adopted socket to the thread that listens there. The rest to all. */
function concerns(order: BrainOrder, channel: WorkerChannel): boolean {
  if (order.type === 'spares' || order.type === 'stderr') return channel.isFirst
  if (order.type === 'adopt' || order.type === 'unadopt')
    return [...channel.claims.values()].includes(order.socket.listener)
  return true
}

function noteClaims(channel: WorkerChannel, { claims }: Rejoin): void {
  for (const { id, address } of claims) channel.claims.set(id, listenerKey(address))
}
