import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { native, READABLE } from '../../src/native'
import { type StartOptions, TestLauncher, temporaryDirectory } from './launcher'
import { until } from './until'

export interface Told {
  /** Of the process that said it, from the kernel. */
  readonly pid: number
  readonly lines: readonly string[]
  readonly at: number
}

/**
 * What systemd does with a service's NOTIFY_SOCKET: hears it in order, keeps descriptors for it, under their names, and gives them back at
 * its next start.
 */
export class FakeServiceManager {
  readonly address: string = join(temporaryDirectory(), 'notify')
  readonly told: Told[] = []
  readonly store: Map<string, number> = new Map()
  /** It reads nothing, as systemd while it is being replaced. */
  isBusy = false
  /** What it has heard and does nothing about, between `hesitate` and `act`. */
  #undone: (() => void)[] | null = null
  readonly #socket = native().socket('unix', 'datagram')

  constructor() {
    native().setOption(this.#socket, 'passCredentials', 1)
    native().bindUnix(this.#socket, this.address)
    const poller = new (native().Poller)(this.#socket, () => this.#read())
    poller.start(READABLE)
    poller.ref()
    onTestFinished(() => {
      poller.close()
      native().close(this.#socket)
      for (const fd of this.store.values()) native().close(fd)
    })
  }

  /** Starts a launcher as a service of its own; it need not come to serve. */
  start(options: StartOptions & { command: readonly string[] }): TestLauncher {
    const stored = [...this.store]
    const given =
      stored.length === 0
        ? {}
        : {
            LISTEN_FDS: String(stored.length),
            LISTEN_FDNAMES: stored.map(([name]) => name).join(':'),
          }
    return new TestLauncher({
      ...options,
      // A number that only the process itself knows.
      under: ['sh', '-c', 'export LISTEN_PID=$$; exec "$@"', 'sh'],
      env: { NOTIFY_SOCKET: this.address, FDSTORE: '64', ...given, ...options.env },
      fds: stored.map(([, fd]) => fd),
    })
  }

  /** What was said from `from` on, each message by the first of its words that is no STATUS: the plot. */
  plot(from = 0): string[] {
    return this.told
      .slice(from)
      .map(({ lines: [first = ''] }) => first)
      .filter((first) => !/^(STATUS|FDSTORE|FDSTOREREMOVE|EXTEND_TIMEOUT_USEC|WATCHDOG|BARRIER)=/.test(first))
  }

  /** The value of the last assignment of this name. */
  last(name: string): string | undefined {
    for (const { lines } of [...this.told].reverse())
      for (const line of lines) if (line.startsWith(`${name}=`)) return line.slice(name.length + 1)
    return undefined
  }

  async hears(line: string | RegExp, from = 0): Promise<Told> {
    const fits = (one: string): boolean => (typeof line === 'string' ? one === line : line.test(one))
    return until(
      () => `${line} of ${JSON.stringify(this.told.slice(from).map(({ lines }) => lines))}`,
      () => this.told.slice(from).find(({ lines }) => lines.some(fits)),
    )
  }

  hesitate(): void {
    this.#undone = []
  }

  act(): void {
    for (const one of this.#undone ?? []) one()
    this.#undone = null
  }

  #read(): void {
    if (this.isBusy) return
    for (
      let one = native().receiveMessage(this.#socket, 4_096);
      one !== null;
      one = native().receiveMessage(this.#socket, 4_096)
    ) {
      const fds = [...one.fds]
      const lines = one.data.toString('utf8').split('\n')
      this.told.push({ pid: one.sender?.pid ?? 0, lines, at: performance.now() })
      const keep = (): void => this.#keep(lines, fds)
      if (this.#undone === null) keep()
      else this.#undone.push(keep)
    }
  }

  #keep(lines: readonly string[], fds: readonly number[]): void {
    const name = lines.find((line) => line.startsWith('FDNAME='))?.slice('FDNAME='.length) ?? 'stored'
    if (lines.includes('FDSTOREREMOVE=1')) {
      const gone = this.store.get(name)
      if (gone !== undefined) native().close(gone)
      this.store.delete(name)
    }
    for (const fd of fds) {
      if (lines.includes('FDSTORE=1') && !this.store.has(name)) this.store.set(name, fd)
      else native().close(fd)
    }
  }
}
