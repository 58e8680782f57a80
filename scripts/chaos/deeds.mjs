/** What the nemesis can do. Each deed ends when its effect is known, or when it is undone; several go on at a time. */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { queues } from '../steering/service.mjs'
import { NEVER_SEEN } from './checker.mjs'
import { peakOf } from './rest.mjs'

const require = createRequire(import.meta.url)
const { monotonicMs } = require('../../dist/verify/load/clock.js')

const MOST_WORKERS = 4
/** Longest answer to any order: a slot that is paused for a minute, a version that never gets ready, and what waits behind both. */
const ANSWER_MS = 120_000
/** Until another launcher is started. */
const GONE_MS = 2_000
/** How long something stands still, at most; a worker for less than an order may take (2 s), mostly. */
const STILL_MS = { worker: 2_500, launcher: 1_500, reader: 4_000, client: 1_000 }
/** So many kills in so much time: beyond 5 ends in 30 s a slot is paused, and nothing happens. */
const KILLS = 5
const KILLS_MS = 30_000
/** Or until so many events have come. */
const EVENTS = 8
const SIGNALS = [...Array(20).fill('SIGHUP'), 'SIGUSR1', 'SIGUSR1', 'SIGUSR2', 'SIGTTIN', 'SIGTTOU']
/** Bad versions that would be waited for for long, and for how long they are. */
const GIVEN_UP = ['silent', 'elsewhere', 'unwell']
const GIVEN_UP_MS = 3_000
const CANARY = { share: 0.3, max5xx: null, maxLatency: null }
const WAITS = ['admitted', 'baked', 'baked', 'retired']
const MISS = Symbol('it was no time for it')

export class Deeds {
  deploys = []
  orders = []
  kills = []
  deaths = []
  /** Of each deed, how often it was done; and how often it was not, since it would have taken away what nobody can keep. */
  done = {}
  missed = 0
  peak = 0
  #service
  #log
  #random
  #reader
  #isUp = true
  #last = null

  constructor({ service, log, random, reader }) {
    this.#service = service
    this.#log = log
    this.#random = random
    this.#reader = reader
  }

  static get names() {
    return [
      ...['reloadGood', 'reloadGood', 'reloadBad', 'reloadBad', 'canary', 'promote', 'abort', 'scale', 'scale'],
      ...['upgrade', 'launcherDies', 'launcherDies', 'workerDies', 'workerDies', 'workerStops', 'workerStops'],
      ...['launcherStops', 'signals', 'rudeClients', 'readerStops'],
    ]
  }

  async do(name) {
    if ((await this[name]()) === MISS) this.missed++
    else this.done[name] = (this.done[name] ?? 0) + 1
  }

  deploy(kind) {
    const number = this.#number + 1
    this.#service.deploy(`${kind} ${number}`)
    this.deploys.push({ at: monotonicMs(), kind, number })
  }

  reloadGood() {
    this.deploy('good')
    return this.reload(this.pick(WAITS))
  }

  async reloadBad() {
    const kind = this.pick([...NEVER_SEEN, 'brief', 'brief'])
    this.deploy(kind)
    const order = this.reload('baked')
    if (GIVEN_UP.includes(kind)) {
      await this.pause(EVENTS, GIVEN_UP_MS)
      await this.abort()
    }
    await order
    if (this.deploys.at(-1).kind === kind) this.deploy('good')
  }

  canary() {
    if (this.#random() < 0.7) this.deploy('good')
    const canary = { ...CANARY, by: this.pick(['random', 'client']), forMs: Math.round(this.#random() * 1_500) }
    return this.#order('reload', (control) => control.reload({ canary }), { canary: true })
  }

  reload(wait) {
    return this.#order('reload', (control) => control.reload({ wait }), { wait })
  }

  promote() {
    return this.#order('promote', (control) => control.promote())
  }

  abort() {
    return this.#order('abort', (control) => control.abort())
  }

  scale(to = 1 + Math.floor(this.#random() * MOST_WORKERS)) {
    return this.#order('scale', (control) => control.scale({ to }), { to })
  }

  upgrade() {
    return this.#order('upgrade', (control) => control.upgrade())
  }

  async launcherDies() {
    const status = await this.#look()
    if (!this.#isUp || status === null || !this.#isKept(status, null)) return MISS
    this.#isUp = false
    const death = { from: monotonicMs(), to: Number.POSITIVE_INFINITY }
    this.deaths.push(death)
    this.peak = Math.max(this.peak, peakOf(this.#service.pid))
    await this.#service.die()
    await sleep(this.#random() ** 2 * GONE_MS)
    await this.#service.again()
    death.to = monotonicMs()
    this.#isUp = true
  }

  async workerDies() {
    const status = (await this.#look()) ?? this.#last
    const pid = this.pick([...pidsOf(status), ...status.beside.map((worker) => worker.pid)])
    const recent = this.kills.filter(({ at }) => at > monotonicMs() - KILLS_MS)
    if (pid === undefined || recent.length >= KILLS) return MISS
    if (!this.#isUp && !this.#isKept(status, pid)) return MISS
    this.kills.push({ pid, at: monotonicMs() })
    signal(pid, 'SIGKILL')
  }

  async workerStops() {
    const status = (await this.#look()) ?? this.#last
    const pid = this.pick([...pidsOf(status), ...status.beside.map((worker) => worker.pid)])
    if (pid === undefined) return MISS
    signal(pid, 'SIGSTOP')
    await this.pause(EVENTS, STILL_MS.worker)
    signal(pid, 'SIGCONT')
  }

  async launcherStops() {
    const { pid } = this.#service
    if (!this.#isUp) return MISS
    signal(pid, 'SIGSTOP')
    await this.pause(EVENTS, STILL_MS.launcher)
    signal(pid, 'SIGCONT')
  }

  async signals() {
    const { pid } = this.#service
    for (const name of SIGNALS) {
      if (!this.#isUp || this.#service.pid !== pid) return
      signal(pid, name)
      await sleep(this.#random() * 30)
    }
  }

  /** They go away in the middle of whatever they began. */
  async rudeClients() {
    const words = [
      '',
      'GET /sta',
      'GET /events HTTP/1.1\r\nHost: x\r\n\r\n',
      'POST /reload?wait=retired HTTP/1.1\r\nHost: x\r\n\r\n',
      'POST /upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n',
      randomBytes(300),
    ]
    const path = join(this.#service.runtimeDir, 'verify', 'control.sock')
    const sockets = words.map((text) => {
      const socket = connect(path).on('error', () => undefined)
      if (text.length > 0) socket.write(text)
      return socket.pause()
    })
    await this.pause(EVENTS, STILL_MS.client)
    for (const socket of sockets) socket.destroy()
  }

  /** Nobody reads what workers and launcher print. */
  async readerStops() {
    this.#reader.kill('SIGSTOP')
    await this.pause(EVENTS, STILL_MS.reader)
    this.#reader.kill('SIGCONT')
  }

  pick(list) {
    return list[Math.floor(this.#random() * list.length)]
  }

  /** Until so many events have come, at most, or so much time has passed. */
  pause(events, ms) {
    return this.#log.more(1 + Math.floor(this.#random() * events), Math.ceil(this.#random() * ms))
  }

  get #number() {
    return this.deploys.at(-1)?.number ?? 0
  }

  async #order(order, ask, more = {}) {
    const record = { order, at: monotonicMs(), number: this.#number, ...more }
    this.orders.push(record)
    const timer = new AbortController()
    const late = sleep(ANSWER_MS, undefined, { signal: timer.signal }).then(() => {
      record.isLate = true
      throw new Error(`not within ${ANSWER_MS} ms`)
    })
    late.catch(() => undefined)
    try {
      const { result, reason } = await Promise.race([ask(this.#service.control), late])
      Object.assign(record, { end: monotonicMs(), result, reason })
    } catch (error) {
      const isRefusal = error.code === 'ERR_CANARY'
      Object.assign(record, { end: monotonicMs() }, isRefusal ? { result: 'refused' } : { error: error.message })
    } finally {
      timer.abort()
    }
    return record
  }

  /** null: nobody says so now. */
  async #look() {
    try {
      this.#last = await this.#service.status()
      return this.#last
    } catch {
      return null
    }
  }

  /**
   * Without the launcher, and without `victim`, each socket has somebody who keeps it: a worker that lives on. What launcher and workers that are killed
   * together had alone nobody can give back (docs/limits.md).
   */
  #isKept(status, victim) {
    const dead = new Set(this.kills.map(({ pid }) => pid))
    const keepers = pidsOf(status).filter((pid) => pid !== victim && !dead.has(pid) && this.#isGood(pid))
    const kept = new Set(keepers.flatMap(socketsOf))
    return [...queues().keys()].every((inode) => kept.has(inode))
  }

  #isGood(pid) {
    const ledger = join(this.#service.directory, 'ledger')
    const name = readdirSync(ledger)
      .filter((one) => one.startsWith(`${pid}-`))
      .sort()
      .at(-1)
    return name !== undefined && readFileSync(join(ledger, name), 'latin1').startsWith('= good')
  }
}

const pidsOf = ({ slots }) => slots.flatMap(({ worker }) => worker?.pid ?? [])

function socketsOf(pid) {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? []
      return inode === undefined ? [] : Number(inode)
    })
  } catch {
    // It has just ended.
    return []
  }
}

function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended since.
  }
}
