import { freePort } from '../ports.js'
import { native } from './addon.js'
import { FakeLauncher, type FakeWorker } from './fake-launcher.js'
import { fixture, type Program, TEST_NODE } from './program.js'

export interface One {
  readonly worker: FakeWorker
  readonly program: Program
}

export interface Version {
  /** Default: migrate.cjs. */
  readonly file?: string
  /** Options of its createServer. */
  readonly options?: object
  /** Properties of its server. */
  readonly server?: object
  /** Its limit. */
  readonly descriptors?: number
}

/** One address that goes from an old worker to its successor under a fake launcher. */
export class Succession {
  readonly launcher: FakeLauncher = new FakeLauncher()
  readonly where: number | string
  readonly listener: string
  #next = 0

  private constructor(where: number | string) {
    this.where = where
    this.listener = typeof where === 'number' ? `tcp *:${where}` : `unix ${where}`
  }

  /** `path`: of a unix listener, instead of a port. */
  static async on(path?: string): Promise<Succession> {
    return new Succession(path ?? (await freePort()))
  }

  /** One that serves. */
  async start({ file = 'migrate.cjs', options = {}, server = {}, descriptors }: Version = {}): Promise<One> {
    const index = this.#next++
    const env = { OPTIONS: JSON.stringify(options), SERVER: JSON.stringify(server) }
    const command = [TEST_NODE, fixture(file), String(this.where)]
    const limit = descriptors === undefined ? [] : ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh']
    const program = this.launcher.start([...limit, ...command], env)
    const worker = await this.launcher.worker(index)
    await worker.report('listening')
    if (index === 0) this.launcher.listen()
    await worker.order({ type: 'admit' })
    return { worker, program }
  }

  /** The next one serves, the old one is paused. */
  async handOver(old: One, version: Version = {}): Promise<One> {
    const next = await this.start(version)
    await old.worker.order({ type: 'pause' })
    return next
  }

  /** As the launcher lays a lane: the receiver gets its end first, and no end stays here. `then`: when the receiver has it. */
  async layLane(from: One, to: One, then: () => Promise<void> | void = () => {}): Promise<void> {
    const [out, into] = native.socketPair()
    try {
      await to.worker.order({ type: 'receive', listener: this.listener }, [{ name: 'lane', fd: into }])
      await then()
      await from.worker.order({ type: 'migrate', listener: this.listener }, [{ name: 'lane', fd: out }])
    } finally {
      native.close(out)
      native.close(into)
    }
  }

  /** One end of a lane for a worker; the other is the test's. */
  async laneTo({ worker }: One, type: 'receive' | 'migrate'): Promise<number> {
    const [mine, theirs] = native.socketPair()
    try {
      await worker.order({ type, listener: this.listener }, [{ name: 'lane', fd: theirs }])
    } finally {
      native.close(theirs)
    }
    return mine
  }

  /** What the launcher does when an old worker is retired. */
  async leave(old: One, next: One, deadlineMs = 20_000): Promise<void> {
    await this.layLane(old, next)
    await drain(old, deadlineMs)
  }
}

export function drain({ worker }: One, deadlineMs = 20_000): Promise<unknown> {
  return worker.order({ type: 'drain', deadlineMs, last: false })
}

export async function outcomeOf({ worker }: One): Promise<unknown> {
  const { ended, closed, cut, moved } = (await worker.report('drained')).outcome
  return { ended, closed, cut, moved }
}
