import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import type { Log } from '../log.js'
import type { LauncherOptions } from '../options.js'
import type { ListenerKey } from '../protocol.js'
import { putFile } from '../whole-file.js'
import type { State } from './brain/state.js'
import type { Spec } from './command.js'

/**
 * What a launcher knows and no worker could tell its successor. A file in its directory, mode 0600, there from the first spawn to a stop in
 * good order: so a launcher that finds none knows at once that nobody is to be waited for. It is written before what it says is done, and
 * is nowhere believed without a look at the kernel: who holds a socket, what a process was started with. No pid is in it.
 */
export interface Notes {
  readonly version: typeof NOTES_VERSION
  /** The workers have our agent: they come by themselves. */
  readonly agent: boolean
  /** How many workers the command line asked for, and how many slots there were. */
  readonly asked: number
  /** How its workers end, for whoever ends them. */
  readonly ends: Pick<
    LauncherOptions,
    'drainTimeoutMs' | 'killAfterMs' | 'stopSignal' | 'websocket' | 'drainSpreadMs' | 'user'
  >
  readonly slots: number
  /** Numbers that are still free. */
  readonly next: { readonly generation: number; readonly run: number }
  /** Slots in the order of their listen(2), which nobody can ask the kernel for (kernel.md §3). */
  readonly order: Readonly<Record<ListenerKey, readonly number[]>>
  readonly inodes: readonly number[]
  /** What each generation runs. */
  readonly specs: Readonly<Record<number, Spec>>
  /** Of the spawns that may be alive. */
  readonly tokens: readonly string[]
}

/** Grows when a field changes its meaning. */
const NOTES_VERSION = 1

/** Until the next try to write what could not be written. */
const RETRY_MS = 1_000

/** null: there are none, or none that this launcher may believe. */
export function readNotes(path: string): Notes | null {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      const { uid } = fstatSync(fd)
      if (uid !== process.geteuid?.() && uid !== 0) return null
      const notes = JSON.parse(readFileSync(fd, 'utf8')) as Notes
      return notes.version === NOTES_VERSION ? notes : null
    } finally {
      closeSync(fd)
    }
  } catch {
    return null
  }
}

function endsOf({
  drainTimeoutMs,
  killAfterMs,
  stopSignal,
  websocket,
  drainSpreadMs,
  user,
}: LauncherOptions): Notes['ends'] {
  return { drainTimeoutMs, killAfterMs, stopSignal, websocket, drainSpreadMs, user }
}

export class Notebook {
  readonly #path: string
  readonly #log: Log
  readonly #tokens = new Set<string>()
  #facts: Omit<Notes, 'tokens'> | null = null
  #signature = ''
  /** While what is there is out of date. */
  #retry: NodeJS.Timeout | undefined

  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
  }

  /** What the brain has decided, before it is done. */
  decided(
    { settings, slots, next, listeners }: State,
    options: LauncherOptions,
    inodes: () => readonly number[],
    specs: Readonly<Record<number, Spec>>,
  ): void {
    const order = Object.fromEntries(Object.values(listeners).map((listener) => [listener.key, listener.order]))
    const numbers = { generation: next.generation, run: next.run }
    const sockets = Object.values(listeners).map((listener) => listener.sockets)
    const signature = JSON.stringify([order, slots.length, numbers, Object.keys(specs), sockets])
    if (signature === this.#signature) return
    this.#signature = signature
    this.#facts = {
      version: NOTES_VERSION,
      agent: settings.agent,
      asked: options.workers,
      ends: endsOf(options),
      slots: slots.length,
      next: numbers,
      order,
      inodes: inodes(),
      specs,
    }
    this.#write()
  }

  /** A process is about to be started that can be known by this. */
  begins(token: string): void {
    this.#tokens.add(token)
    this.#write()
  }

  /** It has ended. That it is still in the file harms nobody. */
  ended(token: string): void {
    this.#tokens.delete(token)
  }

  #write(): void {
    if (this.#facts === null) return
    try {
      putFile(this.#path, '~', JSON.stringify({ ...this.#facts, tokens: [...this.#tokens] } satisfies Notes), 0o600)
      clearTimeout(this.#retry)
      this.#retry = undefined
    } catch (error) {
      // ENOSPC: the service goes on. The next launcher would not know the workers that are in no notes, so they are written when there is room.
      if (this.#retry === undefined)
        this.#log('warn', 'notes.failed', { path: this.#path, reason: (error as Error).message })
      clearTimeout(this.#retry)
      this.#retry = setTimeout(() => this.#write(), RETRY_MS).unref()
    }
  }
}
