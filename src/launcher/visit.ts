import { Channel } from '../channel.js'
import { native, READABLE } from '../native.js'
import type { Rejoin } from '../protocol.js'
import type { RuntimeDir } from '../runtime-dir.js'
import { isRejoin, parseReport } from './report.js'

/** A worker tries to come four times a second. */
const COME_MS = 1_500

/** A worker without a launcher, as it says of itself. */
export interface Visited {
  readonly pid: number
  readonly rejoin: Rejoin
}

/**
 * Hears what workers without a launcher say of themselves, and takes none: for them it is as if a launcher had come and gone. Those of
 * `awaited` that do not come stand still.
 */
export async function visit(
  { channelSocket, letWorkersIn }: Pick<RuntimeDir, 'channelSocket' | 'letWorkersIn'>,
  awaited: readonly number[],
  uid: number | undefined,
): Promise<Visited[]> {
  const addon = native()
  const fd = addon.socket('unix', 'seqpacket')
  addon.bindUnix(fd, channelSocket)
  letWorkersIn(channelSocket)
  addon.listen(fd, awaited.length + 1)
  const channels: Channel[] = []
  const visited = new Map<number, Visited>()
  const poller = new addon.Poller(fd, () => {
    for (let peer = addon.accept(fd); peer !== null; peer = addon.accept(fd)) hear(peer)
  })
  let done: () => void = () => {}
  const hear = (peer: number): void => {
    const { pid, uid: its } = addon.peerCredentials(peer)
    const channel = new Channel(addon, peer, () => {
      const packet = channel.receive()
      if (typeof packet === 'string') return
      addon.closeAll(packet.fds)
      const rejoin = rejoinOf(packet.data)
      if (rejoin !== null && [process.geteuid?.(), uid].includes(its)) visited.set(pid, { pid, rejoin })
      if (awaited.every((other) => visited.has(other))) done()
    })
    channels.push(channel)
    channel.start()
  }
  poller.start(READABLE)
  poller.ref()
  await new Promise<void>((resolve) => {
    const late = setTimeout(resolve, COME_MS)
    done = () => {
      clearTimeout(late)
      resolve()
    }
  })
  poller.close()
  addon.close(fd)
  for (const channel of channels) channel.close()
  return [...visited.values()]
}

function rejoinOf(data: Buffer): Rejoin | null {
  try {
    const report = parseReport(data)
    return report.type === 'hello' && isRejoin(report.rejoin) ? report.rejoin : null
  } catch {
    return null
  }
}
