import { type ListeningSocket, listeningSockets } from '../launcher/listening-sockets.js'
import { describeHolders, holdersOfInodes } from '../launcher/port-holder.js'
import { type Finding, fail, ok } from './finding.js'

/** Who listens on the ports that the program is to have. `own`: inodes of the sockets of the launcher that runs already. */
export function checkPorts(
  ports: readonly number[],
  own: readonly number[] = [],
  all: readonly ListeningSocket[] = listeningSockets(),
): Finding[] {
  if (ports.length === 0)
    return [ok('ports', 'not known: name them with --ports or --listen to see whether they are free')]
  return ports.map((port) => {
    const inodes = all.filter((socket) => socket.port === port && !own.includes(Number(socket.inode)))
    if (inodes.length > 0)
      return fail(
        'ports',
        `${port}: ${describeHolders(holdersOfInodes(inodes.map(({ inode }) => inode)))} listens there`,
        'End it, or take another port.',
      )
    const isOurs = all.some((socket) => socket.port === port)
    return ok('ports', isOurs ? `${port}: only the launcher that runs has it` : `${port}: free`)
  })
}
