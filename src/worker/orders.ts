import type { Fate } from '../meeting.js'
import type { Native, Pulse } from '../native.js'
import type { AckResult, ListenerKey, Order, OrderType, SocketName, ToLauncher, ToWorker } from '../protocol.js'
import { acceptTheRest } from '../serving/accept-the-rest.js'
import { Claim } from '../serving/claim.js'
import { DatagramClaim } from '../serving/datagrams.js'
import { Drain, type DrainEvents, type Draining } from '../serving/drain/drain.js'
import type { Server } from '../serving/handles.js'
import type { Incoming } from '../serving/incoming.js'
import type { Adopted } from '../serving/migrate/adopted.js'
import { Receiver } from '../serving/migrate/receiver.js'
import { Sender } from '../serving/migrate/sender.js'
import type { ReceivedFds } from '../serving/received-fds.js'
import { speaks } from '../serving/speaks.js'
import { Answers } from './answers.js'
import { childrenOf, openIn, speaksOf } from './cluster/children.js'
import { ClusterDrain } from './cluster/drain.js'
import type { Figures } from './figures.js'
import type { Meter } from './meter.js'
import type { Output } from './output.js'
import { type Spares, textOf } from './spares.js'

/** Below SCM_MAX_FD (253), as a sum of descriptors in flight counts against RLIMIT_NOFILE (kernel.md §7). */
const SOCKETS_PER_MESSAGE = 200

/** A `collect()` of the program's metrics that asks a database is waited for this long; whoever scrapes waits with it. */
const COLLECT_MS = 1_500
/** At the end of a drain, which has a deadline of its own. */
const LAST_COLLECT_MS = 500

/** What the orders act on. */
export interface OrderWorld {
  readonly native: Native
  readonly claims: ReadonlyMap<number, Claim | DatagramClaim>
  readonly spares: Spares
  /** undefined until the first claim. */
  state: 'held' | 'serving' | 'paused' | 'draining' | undefined
  place:
    | { readonly generation: number; readonly slot: number; readonly term: number; readonly working: number }
    | undefined
  drain: Draining | undefined
  /** Its drain is over. */
  drained?: (() => void) | undefined
  /** Lanes by which connections of other workers come. */
  readonly receivers: Set<Receiver>
  readonly adopted: Adopted
  /** While the launcher wants answers to be counted. */
  answers: Answers | undefined
  /** While somebody watches. */
  readonly meter: Meter
  /** Once the launcher has asked for them. */
  figures: Figures | undefined
  /** While there is a launcher that looks at it. */
  pulse: Pulse | undefined
  readonly output: Output
  send(message: ToLauncher, fds?: readonly number[]): boolean
}

type Deed = AckResult | undefined
type Handler<T extends OrderType> = (
  world: OrderWorld,
  order: Extract<Order, { type: T }>,
  fds: ReceivedFds,
) => Deed | Promise<Deed>
type Handlers = { readonly [T in OrderType]: Handler<T> }

const handlers = {
  admit: serve,
  resume: serve,
  pause(world) {
    const connections = openConnections(world)
    for (const claim of world.claims.values()) claim.pause()
    world.state = 'paused'
    return withChildren(connections)
  },
  async 'keep-flows'(world) {
    const claims = [...world.claims.values()].filter((claim) => claim instanceof DatagramClaim)
    await Promise.all(claims.map((claim) => claim.keepFlows()))
    return undefined
  },
  adopt(world, { fds: [name] }, fds) {
    const claim = claimOf(world, name.listener)
    if (claim === undefined) throw coded('ENOENT', `no claim on ${name.listener}`)
    if (claim.state !== 'live') throw coded('EBUSY', `the claim on ${name.listener} is ${claim.state}`)
    claim.adopt(name.slot, fds.take(0))
    return undefined
  },
  seat(world, { slot, fds: names }, fds) {
    if (world.state !== 'held') throw coded('EBUSY', `this worker is ${world.state}`)
    for (const [index, name] of names.entries()) claimOf(world, name.listener)?.seat(name.slot, fds.take(index))
    if (world.place !== undefined) world.place = { ...world.place, slot }
    return undefined
  },
  unadopt(world, { socket }) {
    claimOf(world, socket.listener)?.unadopt(socket.slot)
    return undefined
  },
  spares(world, order, fds) {
    for (const [index, name] of order.fds.entries()) world.spares.keep(name, fds.take(index))
    for (const name of order.drop) drop(world, name)
    return undefined
  },
  term(world, { term, working }) {
    if (world.place !== undefined) world.place = { ...world.place, term, working }
    return undefined
  },
  count(world, { everyMs }) {
    world.answers?.stop()
    world.answers = undefined
    if (everyMs === 0) return undefined
    world.answers = new Answers(serversOf(world), everyMs, (answered) => world.send({ type: 'answered', ...answered }))
    return undefined
  },
  async stderr(world, _order, fds) {
    await world.output.become('stderr', fds.take(0))
    return undefined
  },
  async output(world, { fds: names }, fds) {
    const at = (name: (typeof names)[number]): number => fds.take(names.indexOf(name))
    const pipes = (['stdout', 'stderr'] as const).map((stream) => {
      const ends = { writer: at(`${stream}-writer`), reader: at(`${stream}-reader`), real: at(stream) }
      return world.output.pipe(stream, ends)
    })
    await Promise.all(pipes)
    return undefined
  },
  async drain(world, { deadlineMs, last, websocket, spreadMs }) {
    const running = world.drain
    if (running !== undefined) {
      running.setDeadline(deadlineMs)
      tellDraining(world, deadlineMs, !last)
      return { connections: openConnections(world) }
    }
    world.state = 'draining'
    // Who leaves takes nothing in: it would have to leave again.
    for (const receiver of world.receivers) receiver.close()
    const claims = [...world.claims.values()]
    const servers = claims.map((claim) => claim.facts.server)
    // One that the program closes meanwhile is no claim any more, and hears of the end all the same.
    const fates = fatesOf(world)
    const plan = {
      spreadMs: websocket === 'close' ? Math.min(spreadMs ?? 0, deadlineMs / 2) : null,
      isAwaited: fates.length > 0,
    }
    const events: DrainEvents = {
      done: (outcome, goesOn) => {
        const say = (): boolean => world.send({ type: 'drained', outcome })
        // After the program: the launcher's answer is the stop signal. And after the last figures.
        if (goesOn && (fates.length > 0 || world.figures !== undefined))
          setImmediate(() => lastFigures(world).then(say))
        else say()
        world.drained?.()
        const { moved = 0, ended, closed, cut } = outcome
        for (const fate of fates) fate.drained({ moved, ended, closed, cut })
      },
      holds: (held) => world.send({ type: 'draining', held }),
      closedEarly: (call, cut, open) => world.send({ type: 'closed-early', call, cut, open }),
    }
    const children = childrenOf()
    const own = (told: DrainEvents): Draining => new Drain(servers, plan, told)
    const drain = children.length === 0 ? own(events) : new ClusterDrain(children, plan, events, own)
    world.drain = drain
    if (last) await acceptTheRest(claims)
    else for (const claim of claims) claim.pause('draining')
    const connections = openConnections(world)
    drain.begin(deadlineMs)
    tellDraining(world, deadlineMs, !last)
    return withChildren(connections)
  },
  probe(world, { listener }, fds) {
    const claim = streamClaimOf(world, listener)
    if (claim === undefined) throw coded('ENOENT', `no claim on ${listener}`)
    claim.take(fds.take(0))
    return speaksAs(claim)
  },
  receive(world, { listener }, fds) {
    const claim = streamClaimOf(world, listener)
    if (claim === undefined) throw coded('ENOENT', `no claim on ${listener}`)
    if (world.state === 'draining') throw coded('EBUSY', 'this worker drains')
    // Another protocol than before: the lane is closed, and the sender knows.
    if (speaks(claim.facts.server) !== 'http') return undefined
    const { native, adopted, receivers } = world
    receivers.add(new Receiver(native, claim, adopted, fds.take(0), (ended) => receivers.delete(ended)))
    return undefined
  },
  migrate(world, { listener }, fds) {
    const claim = streamClaimOf(world, listener)
    if (claim === undefined) throw coded('ENOENT', `no claim on ${listener}`)
    const { native, adopted } = world
    const isHttp = speaks(claim.facts.server) === 'http'
    const sender = isHttp ? Sender.for(native, claim, adopted, () => world.drain?.look()) : undefined
    sender?.open(fds.take(0))
    world.drain?.look()
    return undefined
  },
  shutdown() {
    const heard = process.listenerCount('message') > 0
    // After the answer: it may end the process.
    if (heard) setImmediate(() => process.emit('message', 'shutdown', undefined))
    return { heard }
  },
  connections(world, { watchMs }) {
    const connections = openConnections(world)
    // The answers of node:cluster children are not seen here.
    if (childrenOf().length > 0) return withChildren(connections)
    if (world.figures !== undefined) return { connections, requests: world.figures.responses }
    if (watchMs === undefined) return { connections }
    const servers = [...world.claims.values()].map((claim) => claim.facts.server)
    return { connections, requests: world.meter.look(servers, watchMs) }
  },
  async figures(world, { fds: [isNew] }, fds) {
    world.figures ??= makeFigures(world.native)
    if (isNew !== undefined) world.figures.into(fds.take(0))
    world.figures.follow(serversOf(world))
    await world.figures.write(COLLECT_MS)
    return undefined
  },
  pulse(world, { everyMs }, fds) {
    const fd = fds.take(0)
    try {
      world.pulse?.stop()
      world.pulse = new world.native.Pulse(fd, everyMs)
    } finally {
      world.native.close(fd)
    }
    return undefined
  },
  ping() {
    return undefined
  },
  collect(world, { seq }) {
    const held = heldSockets(world)
    for (let at = 0; at === 0 || at < held.length; at += SOCKETS_PER_MESSAGE) {
      const batch = held.slice(at, at + SOCKETS_PER_MESSAGE)
      const last = at + SOCKETS_PER_MESSAGE >= held.length
      world.send(
        { type: 'sockets', seq, fds: batch.map(({ name }) => name), last },
        batch.map(({ fd }) => fd),
      )
    }
    return undefined
  },
} satisfies Handlers

/** Does what the message says and answers it: `ack` after the deed, `nack` with the reason, `unknown` when it is from a newer launcher. */
export async function obey(world: OrderWorld, { message, fds }: Incoming<ToWorker>): Promise<void> {
  if (!isOrder(message)) {
    fds.closeRest()
    // An `unknown` of theirs is not answered: two peers that do not know each other would do nothing else.
    if (message.type !== 'unknown') world.send({ type: 'unknown', of: message.type })
    return
  }
  const { seq } = message
  try {
    const handler = handlers[message.type] as Handler<OrderType>
    const result = await handler(world, message, fds)
    world.send(result === undefined ? { type: 'ack', seq } : { type: 'ack', seq, result })
  } catch (error) {
    const { code = 'ERR_FAILED', message: text } = error as NodeJS.ErrnoException
    world.send({ type: 'nack', seq, code, message: text })
  } finally {
    fds.closeRest()
  }
}

/** The end, without a launcher to order it: no copy of any socket is kept, what is open is finished. */
export async function endService(world: OrderWorld, deadlineMs: number): Promise<void> {
  for (const { name } of world.spares.all()) world.spares.drop(name)
  const over = new Promise<void>((done) => {
    world.drained = done
  })
  const spreadMs = deadlineMs / 2
  await handlers.drain(world, { type: 'drain', seq: 0, deadlineMs, last: true, websocket: 'close', spreadMs })
  if (world.drain?.outcome === undefined) await over
}

function isOrder(message: Incoming<ToWorker>['message']): message is Order {
  return Object.hasOwn(handlers, message.type)
}

/** `admit` and `resume` are the same deed: whatever was held or paused accepts. A drain that had begun is called off (an undo). */
function serve(world: OrderWorld, { except = [] }: { readonly except?: readonly ListenerKey[] }): Deed {
  if (world.drain !== undefined) tell(world, (fate) => fate.resumed())
  world.drain?.cancel()
  world.drain = undefined
  for (const claim of world.claims.values()) {
    if (except.includes(claim.facts.listener)) continue
    Sender.of(claim.facts.server)?.callOff()
    claim.accept()
  }
  world.state = 'serving'
  world.figures?.follow(serversOf(world))
  return undefined
}

/** The program's listeners of the library. */
function tell(world: OrderWorld, say: (fate: Fate) => void): void {
  for (const fate of fatesOf(world)) say(fate)
}

/** Whose flows are kept drains after that. */
function tellDraining({ claims }: OrderWorld, deadlineMs: number, hasSuccessor: boolean): void {
  for (const claim of claims.values()) {
    const tell = (): void => claim.facts.place?.fate?.draining(deadlineMs, hasSuccessor)
    if (claim instanceof DatagramClaim) claim.afterLinger(tell)
    else tell()
  }
}

function fatesOf({ claims }: OrderWorld): Fate[] {
  return [...claims.values()].flatMap(({ facts }) => facts.place?.fate ?? [])
}

function drop(world: OrderWorld, name: SocketName): void {
  world.spares.drop(name)
  const claim = claimOf(world, name.listener)
  if (claim === undefined) return
  if (name.slot !== claim.facts.slot) claim.unadopt(name.slot)
  else if (claim.state !== 'draining') return
  else if (claim instanceof DatagramClaim) claim.giveUp()
  else claim.letGo()
}

function claimOf(world: OrderWorld, listener: string): Claim | DatagramClaim | undefined {
  for (const claim of world.claims.values()) if (claim.facts.listener === listener) return claim
  return undefined
}

/** Those with connections. */
export function serversOf({ claims }: Pick<OrderWorld, 'claims'>): Server[] {
  return [...claims.values()].flatMap((claim) => (claim instanceof Claim ? claim.facts.server : []))
}

/** Loaded only when they are asked for. */
function makeFigures(addon: Native): Figures {
  const { Figures } = require('./figures.js') as typeof import('./figures.js')
  return new Figures(addon)
}

/** What the program's registries cannot say now they will not say any more: then it is what they said last. */
async function lastFigures({ figures }: OrderWorld): Promise<void> {
  try {
    await figures?.write(LAST_COLLECT_MS)
  } catch {}
}

/** One with connections. */
function streamClaimOf(world: OrderWorld, listener: string): Claim | undefined {
  const claim = claimOf(world, listener)
  return claim instanceof Claim ? claim : undefined
}

function withChildren(connections: number): Deed | Promise<Deed> {
  const children = childrenOf()
  if (children.length === 0) return { connections }
  return openIn(children).then((open) => ({ connections: connections + open }))
}

/** The server of a primary of node:cluster only listens; what speaks is in its children. */
function speaksAs({ facts: { server, address } }: Claim): Deed | Promise<Deed> {
  if (speaks(server) !== 'tcp' || childrenOf().length === 0) return { speaks: speaks(server) }
  return speaksOf(address).then((found = 'tcp') => ({ speaks: found }))
}

function openConnections(world: OrderWorld): number {
  let sum = 0
  for (const claim of world.claims.values()) sum += claim.connections
  return sum
}

/** Every socket of which there is a copy here, once; the claims' own first. The descriptors stay where they are. */
export function heldSockets(world: Pick<OrderWorld, 'claims' | 'spares'>): { name: SocketName; fd: number }[] {
  const held = new Map<string, { name: SocketName; fd: number }>()
  for (const claim of world.claims.values()) for (const one of claim.sockets()) held.set(textOf(one.name), one)
  for (const one of world.spares.all()) if (!held.has(textOf(one.name))) held.set(textOf(one.name), one)
  return [...held.values()]
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
