import { listeningSockets } from './listening-sockets.js'
import { describeHolders, holdersOfInodes } from './port-holder.js'

/**
 * Sockets of others on our ports. A process of the same user may join a reuseport group uninvited, and draws its share; or listen on a more
 * specific address, and draw everything that goes there (kernel.md §5).
 */
export interface Stranger {
  readonly port: number
  readonly inode: string
  /** It is in our group; else on a more specific address. */
  readonly isMember: boolean
}

/** `own`: inodes of our listening sockets. */
export function strangersBeside(own: readonly number[]): Stranger[] {
  const inodes = new Set(own.map(String))
  const all = listeningSockets()
  const ours = all.filter(({ inode }) => inodes.has(inode))
  return all.flatMap(({ family, address, port, inode }) => {
    if (inodes.has(inode)) return []
    const beside = ours.filter((one) => one.port === port)
    const isMember = beside.some((one) => one.family === family && one.address === address)
    const isInside = beside.some((one) => /^0+$/.test(one.address))
    return isMember || isInside ? [{ port, inode, isMember }] : []
  })
}

/** For a person: who it is, and what it gets. */
export function describeStranger({ port, inode, isMember }: Stranger): string {
  const holders = holdersOfInodes([inode])
  const one = holders.length === 1
  const what = isMember ? 'a share of the new connections' : 'every connection to the address that is named there'
  return `${describeHolders(holders)} ${one ? 'listens' : 'listen'} on port ${port}, too, and ${one ? 'gets' : 'get'} ${what}`
}
