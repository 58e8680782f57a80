import { ControlClient } from '../control-client.js'
import { connectOrFind, withinTime } from './connect.js'
import { stopOrphans } from './orphans.js'
import type { CommandLine } from './parse.js'

export async function stop(line: CommandLine): Promise<number> {
  const find = (signal?: AbortSignal): ReturnType<typeof connectOrFind> => connectOrFind(line, signal)
  await withinTime(line, 'stop', find, (found) => (found instanceof ControlClient ? found.stop() : stopOrphans(found)))
  return 0
}
