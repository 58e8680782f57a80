import type { ReloadProgress } from '../control-protocol.js'
import { describeCanary } from './verdict.js'

/** Often enough to look alive; each look is one request to the launcher. */
const LOOK_EVERY_MS = 100

export interface Screen {
  write(text: string): unknown
  readonly columns?: number
}

/** What a running reload looks like: one line for it, one per slot. */
export function progressLines({ id, step, from, to, ms, canary, waiting, slots }: ReloadProgress): string[] {
  const seconds = (ms / 1_000).toFixed(1)
  return [
    `reload ${id}: ${step}, ${seconds} s, generation ${from} → ${to}${waiting === 0 ? '' : '; one more waits'}`,
    ...(canary === null ? [] : describeCanary(canary, canary.leftMs)),
    ...slots.map(({ slot, oldPid, newPid, phase }) => `  slot ${slot}: ${oldPid ?? '-'} → ${newPid ?? '-'}  ${phase}`),
  ]
}

/** Lines on a terminal that are drawn over and over at the same place, and leave nothing behind. */
export class LiveBlock {
  readonly #screen: Screen
  #height = 0

  constructor(screen: Screen) {
    this.#screen = screen
  }

  draw(lines: readonly string[]): void {
    // A line that wraps would take two rows, and the way back up would be wrong. 0: a terminal that was never told its size.
    const width = (this.#screen.columns || 80) - 1
    this.#screen.write(`${this.#up()}${lines.map((line) => `${line.slice(0, width)}\n`).join('')}`)
    this.#height = lines.length
  }

  clear(): void {
    this.#screen.write(this.#up())
    this.#height = 0
  }

  /** To the first line, and everything from there on wiped (CSI A, CSI J). */
  #up(): string {
    return this.#height === 0 ? '' : `\x1b[${this.#height}A\x1b[J`
  }
}

/** Shows how far the reload is until `work` has ended. */
export async function whileShowing<T>(
  work: Promise<T>,
  look: () => Promise<ReloadProgress | null>,
  screen: Screen,
): Promise<T> {
  const block = new LiveBlock(screen)
  let isOver = false
  let isLooking = false
  const timer = setInterval(() => {
    if (isLooking) return
    isLooking = true
    look()
      .then((progress) => {
        if (!isOver && progress !== null) block.draw(progressLines(progress))
      })
      // The launcher is ending, or too busy to be looked at: the answer that counts comes by the other connection.
      .catch(() => {})
      .finally(() => {
        isLooking = false
      })
  }, LOOK_EVERY_MS)
  try {
    return await work
  } finally {
    isOver = true
    clearInterval(timer)
    block.clear()
  }
}
