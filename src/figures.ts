import type { Answered } from './protocol.js'

/** What a thread of a worker knows of itself, with `--metrics`: JSON in a file in memory, which the launcher has given it. */
export interface Figures {
  /** 0 in the main thread, else the worker_thread's id. */
  readonly thread: number
  /** Since it was first asked. `ms`: how long those answers took together. */
  readonly answered: Answered & { readonly ms: number }
  /** Since its event loop began: how long that had something to do, and waited for something to do. */
  readonly loop: { readonly activeMs: number; readonly idleMs: number }
  /** Bytes of its JavaScript heap that are in use. */
  readonly heapUsed: number
  /** What the program's own registries say, as getMetricsAsJSON() of prom-client gives it. Numbers that JSON has not are text. */
  readonly registries: readonly unknown[]
}

/** Far more than a registry of a program that can be scraped at all. */
export const MOST_FIGURES_BYTES: number = 16 * 1024 * 1024
