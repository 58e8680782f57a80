import { within } from './connect.js'
import type { CommandLine } from './parse.js'

export async function stop(line: CommandLine): Promise<number> {
  await within(line, 'stop', (client) => client.stop())
  return 0
}
