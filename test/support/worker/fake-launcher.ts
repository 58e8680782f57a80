import { linkSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Poller } from '../../../src/native.js'
import {
  type AckResult,
  type Claimed,
  ENV_CHANNEL,
  ENV_TOKEN,
  type Hello,
  type ListenAddress,
  listenerKey,
  MAX_MESSAGE_BYTES,
  type Order,
  PROTOCOL_VERSION,
  type Report,
  type SocketName,
} from '../../../src/protocol.js'
import { until } from '../until.js'
import { native, READABLE } from './addon.js'
import { PRELOAD, Program, TEST_NODE } from './program.js'

type Claim = Extract<Report, { type: 'claim' }>
type OfType<T extends Report['type']> = Extract<Report, { type: T }>
/** An order as a test writes it: the numbers and the manifest are ours to fill in. */
type OrderText<O = Order> = O extends Order ? Omit<O, 'seq' | 'fds'> : never

const EADDRINUSE = -98

export interface Policy {
  /** What a hello is answered with; default: welcome. */
  greet?(hello: Hello): Record<string, unknown>
  /** What a claim is answered with; default: 'hold'. */
  claim?(claim: Claim): 'hold' | 'go' | 'unmanaged' | { errno: number; code: string } | 'silence'
  /** Attached to the first welcome. */
  stderrReader?: number
  /** Slot of the n-th process; default: 0. */
  slot?(index: number): number
}

/** The launcher's end of the channel, as src/protocol.ts has it, with real sockets; every decision is the test's. */
export class FakeLauncher {
  readonly path: string
  readonly workers: FakeWorker[] = []
  /** Slot sockets: kept open to the end, as the launcher does. */
  readonly sockets = new Map<string, number>()
  readonly programs: Program[] = []
  policy: Policy
  readonly #directory: string | undefined
  #listening: number | undefined
  #poller: Poller | undefined

  /** `path`: of the channel of a real launcher that is dead; default: one in a directory of its own. */
  constructor(policy: Policy = {}, path?: string) {
    this.policy = policy
    this.#directory = path === undefined ? mkdtempSync(join(tmpdir(), 'rr-')) : undefined
    this.path = path ?? join(this.#directory as string, 'channel.sock')
    this.open()
  }

  /** Again after `die()`: the next launcher under the same name. */
  open(): void {
    rmSync(this.path, { force: true })
    const fd = native.socket('unix', 'seqpacket')
    native.bindUnix(fd, this.path)
    native.listen(fd, 128)
    this.#listening = fd
    this.#poller = new native.Poller(fd, () => {
      for (let peer = native.accept(fd); peer !== null; peer = native.accept(fd))
        this.workers.push(new FakeWorker(this, peer))
    })
    this.#poller.start(READABLE)
  }

  /** What workers see of a launcher's death. With `sockets` its copies are gone as well. */
  die(options: { sockets: boolean } = { sockets: false }): void {
    this.#poller?.close()
    if (this.#listening !== undefined) native.close(this.#listening)
    this.#listening = undefined
    rmSync(this.path, { force: true })
    for (const worker of this.workers.splice(0)) worker.close()
    if (options.sockets) this.closeSockets()
  }

  env(token = 'secret'): Record<string, string> {
    return { [ENV_CHANNEL]: this.path, [ENV_TOKEN]: token, NODE_OPTIONS: `--require "${PRELOAD}"` }
  }

  start(
    command: readonly string[],
    env: Record<string, string | undefined> = {},
    cwd?: string,
    stderr?: number,
  ): Program {
    const program = new Program(command, { ...this.env(), ...env }, cwd, stderr)
    this.programs.push(program)
    return program
  }

  /** A fixture under the Node of the test. */
  node(file: string, argv: readonly (string | number)[] = [], env: Record<string, string | undefined> = {}): Program {
    return this.start([TEST_NODE, file, ...argv.map(String)], env)
  }

  /** The next worker that says hello. */
  async worker(index = 0): Promise<FakeWorker> {
    return until(
      () => `worker ${index} says hello\n${this.said()}`,
      () => {
        const worker = this.workers[index]
        return worker?.hello === undefined ? undefined : worker
      },
    )
  }

  /** What the programs have written to stderr so far. */
  said(): string {
    return this.programs.flatMap((one) => one.errors).join('\n')
  }

  /** Bound, in the reuseport group of its address, not listening. */
  socketOf(address: ListenAddress, slot = 0): number {
    const text = `${listenerKey(address)} ${slot}`
    let fd = this.sockets.get(text)
    if (fd === undefined) {
      fd = makeSocket(address)
      this.sockets.set(text, fd)
    }
    return fd
  }

  /** As the launcher does at admit: it calls listen(2), then it tells the workers. */
  listen(): void {
    for (const fd of this.sockets.values()) native.listen(fd, 511)
  }

  closeSockets(): void {
    for (const fd of this.sockets.values()) native.close(fd)
    this.sockets.clear()
  }

  async end(): Promise<void> {
    this.die({ sockets: true })
    for (const program of this.programs) await program.kill()
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true })
  }
}

export class FakeWorker {
  hello: Hello | undefined
  readonly pid: number
  readonly received: Report[] = []
  /** Descriptors of `sockets` reports, in the order they came. */
  readonly collected: { name: SocketName; fd: number }[] = []
  slot = 0
  isOpen = true
  /** Listeners of open claims, by their id. */
  readonly #claims = new Map<number, string>()
  readonly #launcher: FakeLauncher
  readonly #fd: number
  readonly #poller: Poller
  #seq = 0

  constructor(launcher: FakeLauncher, fd: number) {
    this.#launcher = launcher
    this.#fd = fd
    this.pid = native.peerCredentials(fd).pid
    this.#poller = new native.Poller(fd, () => this.#read())
    this.#poller.start(READABLE)
  }

  send(message: object | string, fds: readonly number[] = []): void {
    if (this.isOpen && !this.trySend(message, fds)) throw new Error('channel is full')
  }

  trySend(message: object | string, fds: readonly number[] = []): boolean {
    const text = typeof message === 'string' ? message : JSON.stringify(message)
    return native.sendMessage(this.#fd, Buffer.from(text), fds)
  }

  /** Gives the order and waits for its ack. Throws what a nack says. */
  async order(
    order: OrderText,
    sockets: readonly { name: SocketName | 'stderr' | 'probe' | 'lane'; fd: number }[] = [],
  ): Promise<AckResult | undefined> {
    const seq = ++this.#seq
    const manifest = 'fds' in order ? {} : { fds: sockets.map(({ name }) => name) }
    this.send(
      { ...order, seq, ...(sockets.length > 0 || order.type === 'spares' ? manifest : {}) },
      sockets.map(({ fd }) => fd),
    )
    return this.answer(seq, order.type)
  }

  async answer(seq: number, what = 'order'): Promise<AckResult | undefined> {
    const answer = await until(`answer to ${what}`, () =>
      this.received.find(
        (one): one is OfType<'ack' | 'nack'> => (one.type === 'ack' || one.type === 'nack') && one.seq === seq,
      ),
    )
    if (answer.type === 'nack') throw Object.assign(new Error(answer.message), { code: answer.code })
    return answer.result
  }

  /** The first report of this type, or the n-th. */
  async report<T extends Report['type']>(type: T, index = 0): Promise<OfType<T>> {
    return until(
      () => `report ${type} ${index}; there came ${JSON.stringify(this.received)}\n${this.#launcher.said()}`,
      () => this.received.filter((one): one is OfType<T> => one.type === type)[index],
    )
  }

  /** A launcher that is busy: what the worker says piles up in the channel. */
  stopReading(): void {
    this.#poller.start(0)
  }

  startReading(): void {
    this.#poller.start(READABLE)
  }

  close(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.#poller.close()
    native.close(this.#fd)
  }

  #read(): void {
    while (this.isOpen) {
      let packet: ReturnType<typeof native.receiveMessage>
      try {
        packet = native.receiveMessage(this.#fd, MAX_MESSAGE_BYTES)
      } catch {
        this.close()
        return
      }
      if (packet === null) return
      if (packet.data.length === 0) {
        this.close()
        return
      }
      this.#take(JSON.parse(packet.data.toString()) as Report, [...packet.fds])
    }
  }

  #take(report: Report, fds: readonly number[]): void {
    if (report.type === 'hello') {
      const isFirst = !this.#launcher.workers.some((one) => one !== this && one.pid === this.pid && one.isOpen)
      const reader = isFirst ? this.#launcher.policy.stderrReader : undefined
      const { workers, policy } = this.#launcher
      this.slot = report.rejoin?.slot ?? policy.slot?.(workers.indexOf(this)) ?? 0
      const welcome = {
        type: 'welcome',
        version: PROTOCOL_VERSION,
        generation: report.rejoin?.generation ?? 1,
        slot: this.slot,
        term: 1,
        working: 1,
        first: isFirst,
        fds: reader === undefined ? [] : ['stderr-reader', 'stderr'],
      }
      this.send(this.#launcher.policy.greet?.(report) ?? welcome, reader === undefined ? [] : [reader, 2])
      this.hello = report
    }
    if (report.type === 'claim') this.#answerClaim(report)
    if (report.type === 'released') this.#claims.delete(report.id)
    if (report.type === 'sockets') {
      for (const [index, name] of report.fds.entries()) this.collected.push({ name, fd: fds[index] ?? -1 })
    }
    this.received.push(report)
  }

  #answerClaim(claim: Claim): void {
    const mode = this.#launcher.policy.claim?.(claim) ?? 'hold'
    if (mode === 'silence') return
    const answer = (rest: Omit<Claimed, 'type' | 'id'> & Record<string, unknown>, fds: number[] = []): void =>
      this.send({ type: 'claimed', id: claim.id, ...rest }, fds)
    if (mode === 'unmanaged') return answer({ mode })
    if (typeof mode === 'object') return answer({ mode: 'failed', ...mode })
    const listener = listenerKey(claim.address)
    if ([...this.#claims.values()].includes(listener))
      return answer({ mode: 'failed', errno: EADDRINUSE, code: 'EADDRINUSE' })
    let fd: number
    try {
      fd = this.#launcher.socketOf(claim.address, this.slot)
      if (mode === 'go') native.listen(fd, claim.backlog)
    } catch (error) {
      const { errno, code } = error as NodeJS.ErrnoException
      return answer({ mode: 'failed', errno, code })
    }
    this.#claims.set(claim.id, listener)
    if (claim.address.kind === 'unix') {
      rmSync(claim.address.path, { force: true })
      linkSync(privateName(claim.address.path), claim.address.path)
    }
    return answer({ mode, listener, fds: [{ listener, slot: this.slot }] }, [fd])
  }
}

/** Where a unix listener is bound for good; its path is a link to it that can be made again. */
const privateName = (path: string): string => `${path}.private`

/** As the launcher makes one: SO_REUSEADDR only for the bind (a TIME_WAIT), or another uid could bind and listen beside us. */
function makeSocket(address: ListenAddress): number {
  if (address.kind === 'unix') {
    const fd = native.socket('unix', 'stream')
    native.bindUnix(fd, privateName(address.path))
    return fd
  }
  const host = address.host ?? '::'
  const fd = native.socket(host.includes(':') ? 'inet6' : 'inet', 'stream')
  if (address.ipv6Only) native.setOption(fd, 'ipv6Only', 1)
  native.setOption(fd, 'reuseAddress', 1)
  native.setOption(fd, 'reusePort', 1)
  native.bindInet(fd, host, address.port)
  native.setOption(fd, 'reuseAddress', 0)
  return fd
}
