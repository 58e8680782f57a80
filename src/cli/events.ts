import { pipeline } from 'node:stream/promises'
import { within } from './connect.js'
import type { CommandLine } from './parse.js'

/** Prints what happens, until the launcher ends or nobody reads any more. */
export async function events(line: CommandLine): Promise<number> {
  const stream = await within(line, 'stream of events', (client) => client.events())
  try {
    await pipeline(stream, process.stdout, { end: false })
  } catch (error) {
    // The launcher was killed, or our own reader has gone (`| head`).
    if (!ENDS.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
  return 0
}

const ENDS: readonly string[] = ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE']
