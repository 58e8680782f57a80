import { connect, within } from './connect.js'
import type { CommandLine } from './parse.js'

export async function stop(line: CommandLine): Promise<number> {
  const client = await connect(line)
  await within(line, 'stop', client.stop())
  return 0
}
