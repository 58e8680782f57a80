/** A launcher under load, in a network of its own and as a user without privilege, for one piece of the steering campaign. */
import { randomUUID } from 'node:crypto'
import {
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addon, root } from '../build.mjs'
import { Clients } from './clients.mjs'
import { until } from './until.mjs'

const require = createRequire(import.meta.url)
const { Deadline } = require('../../dist/verify/deadline.js')
const { LauncherProcess } = require('../../dist/verify/launcher-process.js')
const { processesOf } = require('../../dist/verify/leftovers.js')
const { enterNetwork } = require('../../dist/verify/private-network.js')

/** "nobody" */
const UID = 65_534
export const UNPRIVILEGED = [
  ...['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'],
  process.execPath,
]
export const PORT = 3000
const START_MS = 60_000
const VANISH_MS = 2_000

/** From here on this process, and all that it starts, has a network of its own. */
export function alone() {
  const { reason } = enterNetwork('private')
  if (reason !== null) throw new Error(`no network of its own: ${reason}`)
}

export class Service {
  #start
  #launcher
  #clients
  #control
  #directory
  #mark = randomUUID()

  /**
   * `denied`: the kernel takes no steering program. `node`: of the launcher, by the name that it is called by; `under`: words in front of that. `program`, and
   * what is deployed at first: `version`.
   */
  static async start({
    workers,
    options = [],
    denied = false,
    env = {},
    node = process.execPath,
    under = [],
    program = join(root, 'scripts', 'steering', 'program.cjs'),
    version = 'good',
  }) {
    const service = new Service()
    const directory = mkdtempSync(join(tmpdir(), 'rrs-'))
    service.#directory = directory
    for (const path of [directory, service.runtimeDir, join(directory, 'ledger')]) {
      mkdirSync(path, { recursive: true })
      chownSync(path, UID, UID)
    }
    service.deploy(version)
    const refusing = join(root, 'test', 'fixtures', 'launchers', 'addon-without-steering.cjs')
    Object.assign(process.env, env, {
      PORT: String(PORT),
      LEDGER: join(directory, 'ledger'),
      DEPLOYED: join(directory, 'version'),
      ...(denied ? { REUSEPORT_RUN_BINDING: refusing, REAL_BINDING: addon } : {}),
    })
    service.#start = () =>
      LauncherProcess.start({
        launcher: [...UNPRIVILEGED.slice(0, -1), ...under, node, join(root, 'dist', 'cli', 'main.js')],
        launcherOptions: options,
        workers,
        command: [process.execPath, program],
        runtimeDir: service.runtimeDir,
        mark: service.#mark,
        isAlone: true,
      })
    service.#launcher = await service.#start()
    try {
      const { steering } = await service.#launcher.serves(
        new Deadline(START_MS, new AbortController().signal),
        START_MS,
      )
      if (steering !== (denied ? 'none' : 'cbpf')) throw new Error(`steering is ${steering}`)
      service.#control = await service.#launcher.control()
    } catch (error) {
      await service.kill()
      throw error
    }
    return service
  }

  get control() {
    return this.#control
  }

  get directory() {
    return this.#directory
  }

  /** In which a launcher keeps its sockets, and what else is there for as long as it runs. */
  get runtimeDir() {
    return join(this.#directory, 'run')
  }

  /** Of everything that comes from its launchers, and of whatever else is in this network. */
  processes() {
    return processesOf(this.#mark, true).filter(({ pid }) => pid !== process.pid)
  }

  lastLines() {
    return this.#launcher.lastLines()
  }

  /** What the program is from its next start on (program.cjs); whoever starts meanwhile finds the one or the other. */
  deploy(version) {
    const next = join(this.#directory, 'version.next')
    writeFileSync(next, version)
    renameSync(next, join(this.#directory, 'version'))
  }

  async load(who) {
    this.#clients = await Clients.start({ port: PORT, ...who })
    return this.#clients
  }

  status() {
    return this.#control.status()
  }

  /** The first status that fits. */
  when(what, fits) {
    return until(`${what}\n${this.lastLines().join('\n')}`, async () => {
      const status = await this.status()
      return fits(status) && status
    })
  }

  /** Every slot is served by a worker of its own, nothing else goes on, and as many spares wait as there should be. */
  whole(workers, standby = 0) {
    return this.when(
      `${workers} workers serve`,
      (status) =>
        status.state === 'serving' &&
        status.slots.length === workers &&
        status.slots.every(({ worker, adoptedBy }) => worker?.state === 'serving' && adoptedBy === null) &&
        status.standby.filter(({ isReady }) => isReady).length === standby,
    )
  }

  async reload() {
    const { result, reason } = await this.#control.reload({ wait: 'retired' })
    if (result !== 'done') throw new Error(`reload ${result}: ${reason}`)
  }

  /** What a worker has noted: connections that it had in hand at last, when its first one came, and when its last busy loop began. */
  ledger(pid) {
    const lines = readFileSync(join(this.#directory, 'ledger', String(pid)), 'latin1').split('\n')
    const inHand = new Set()
    let [first, busySince] = [null, 0]
    for (const line of lines) {
      const [port, at] = line.slice(1).split(' ')
      if (line.startsWith('+')) {
        first ??= Number(at)
        inHand.add(Number(port))
      } else if (line.startsWith('-')) inHand.delete(Number(port))
      else if (line.startsWith('!')) busySince = Number(port)
    }
    return { inHand, first, busySince }
  }

  get pid() {
    return this.#launcher.pid
  }

  /** kill -9 of the launcher alone. */
  die() {
    return this.#launcher.kill()
  }

  /** Another one in its place; resolves when it has taken over what there is. */
  async again() {
    this.#launcher = await this.#start()
    const { pid } = this.#launcher
    this.#control = await until(`it answers\n${this.lastLines().join('\n')}`, async () => {
      try {
        const control = await this.#launcher.control()
        return (await control.status()).pid === pid && control
      } catch {
        return false
      }
    })
  }

  /** Stops the launcher; gives what is wrong with its end. */
  async stop() {
    const { code, signal } = await this.#launcher.stop()
    await until('nothing is left', () => this.processes().length === 0, VANISH_MS).catch(() => undefined)
    const reasons = this.processes().map(({ pid, command }) => `process ${pid} was left behind: ${command}`)
    if (code !== 0) reasons.push(`the launcher ended with ${signal ?? `code ${code}`}`)
    return reasons
  }

  /** By force, whatever is left of it. */
  async kill() {
    this.#clients?.kill()
    await this.#launcher?.kill()
    for (const { pid } of processesOf(this.#mark, false)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Connections that wait in each listening socket, by inode (proc(5): rx_queue of a listener is its accept queue). */
export function queues() {
  const LISTEN = '0A'
  const found = new Map()
  for (const file of ['tcp', 'tcp6']) {
    for (const line of firstLines(`/proc/thread-self/net/${file}`)) {
      const [, , , state, queue = '', , , , , inode] = line.trim().split(/\s+/)
      if (state === LISTEN) found.set(Number(inode), Number.parseInt(queue.split(':')[1], 16))
    }
  }
  return found
}

/** Those that listen come first; after a while of load ten thousand others follow. */
function firstLines(path) {
  const fd = openSync(path, 'r')
  const piece = Buffer.alloc(4096)
  const text = piece.toString('latin1', 0, readSync(fd, piece))
  closeSync(fd)
  return text.split('\n').slice(1)
}

export function percentile(sorted, share) {
  return sorted.length === 0 ? null : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

export const ascending = (numbers) => [...numbers].sort((a, b) => a - b)
