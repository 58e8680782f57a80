import { LiveBlock, type Screen } from './progress.js'
import type { Look } from './status-table.js'

/** A terminal that was never told its size. */
const USUAL_ROWS = 24
const USUAL_COLUMNS = 80
/** q, Q, Escape, Ctrl-C, Ctrl-D. */
const QUITS: readonly string[] = ['q', 'Q', '\x1b', '\x03', '\x04']

interface Watching {
  look(): Promise<Look>
  lines(look: Look, before: Look | null, width: number): string[]
  readonly everyMs: number
  readonly isJson: boolean
}

/** What there is to write on, and to press keys on. */
export interface Console {
  readonly screen: Screen & { readonly isTTY?: boolean; readonly rows?: number }
  readonly keys: NodeJS.ReadStream
}

/**
 * On a terminal: the same block drawn over and over, until somebody ends it; a launcher that does not answer is looked for again, since it may
 * be on its way back. Elsewhere: one look after the other, an empty line in between (JSON: one per line), until the launcher does not answer.
 */
export async function watch(
  watching: Watching,
  { screen, keys }: Console = { screen: process.stdout, keys: process.stdin },
): Promise<number> {
  const quit = new AbortController()
  const release = listenForKeys(keys, () => quit.abort())
  const isLive = screen.isTTY === true && !watching.isJson
  const block = new LiveBlock(screen)
  let before: Look | null = null
  try {
    while (!quit.signal.aborted) {
      const began = performance.now()
      try {
        const look = await watching.look()
        if (quit.signal.aborted) break
        if (isLive) block.draw(cutTo(watching.lines(look, before, screen.columns || USUAL_COLUMNS), screen.rows))
        else screen.write(textOf(watching, look, before))
        before = look
      } catch (error) {
        if (!isLive || before === null) throw error
        block.draw(cutTo([`${before.status.name}: no answer (${(error as Error).message})`], screen.rows))
      }
      await pause(watching.everyMs - (performance.now() - began), quit.signal)
    }
    return 0
  } finally {
    release()
  }
}

function textOf({ isJson, lines }: Watching, look: Look, before: Look | null): string {
  if (isJson) return `${JSON.stringify(look.status)}\n`
  return `${before === null ? '' : '\n'}${lines(look, before, Number.POSITIVE_INFINITY).join('\n')}\n`
}

/** What is higher than the terminal could not be drawn over. */
function cutTo(lines: readonly string[], rows: number = USUAL_ROWS): string[] {
  const most = Math.max(2, (rows || USUAL_ROWS) - 1)
  if (lines.length <= most) return [...lines]
  return [...lines.slice(0, most - 1), `  … ${lines.length - most + 1} more lines`]
}

/** Each key by itself and unseen; undone by what is returned. Without a terminal to press them on: Ctrl-C is a signal, as ever. */
function listenForKeys(keys: NodeJS.ReadStream, quit: () => void): () => void {
  if (!keys.isTTY) return () => {}
  const pressed = (data: Buffer): void => {
    if (QUITS.includes(data.toString('latin1'))) quit()
  }
  keys.setRawMode(true)
  keys.on('data', pressed)
  return () => {
    keys.off('data', pressed)
    keys.setRawMode(false)
    keys.pause()
  }
}

function pause(ms: number, quit: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const over = (): void => {
      clearTimeout(timer)
      quit.removeEventListener('abort', over)
      done()
    }
    const timer = setTimeout(over, Math.max(0, ms))
    quit.addEventListener('abort', over)
  })
}
