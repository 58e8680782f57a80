import cluster from 'node:cluster'

/** The first versions with `reusePort` among the options of listen(), by major; every later major has it. */
const FIRST = [
  [22, 12],
  [23, 1],
] as const

let hasWarned = false

/**
 * Whether listen() is to be asked for SO_REUSEPORT. Where it cannot be had the listen is a plain one, and the program is told once: its port
 * is then its own, and a second process on it gets EADDRINUSE. `quietly`: there is a launcher, which makes the sockets.
 */
export function sharesPort(quietly: boolean): boolean {
  // Children of node:cluster share what their primary listens on; with SO_REUSEPORT they would listen beside it.
  if (cluster.isWorker) return false
  const lack = whatIsLacking(process.platform, process.version)
  if (lack !== null && !quietly && !hasWarned) {
    hasWarned = true
    process.emitWarning(`listenReusePort: ${lack}; this is a plain listen()`, { code: 'REUSEPORT_RUN_PLAIN_LISTEN' })
  }
  return lack === null
}

/** Of SO_REUSEPORT in a Node of this version ("v22.12.0"); null: nothing. */
export function whatIsLacking(platform: NodeJS.Platform, version: string): string | null {
  // Elsewhere the option spreads no connections, or is an error (macOS: ENOTSUP).
  if (platform !== 'linux') return `SO_REUSEPORT is used on Linux only, and this is ${platform}`
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number)
  const first = FIRST.find(([one]) => one === major)
  const has = first === undefined ? major > 23 : minor >= first[1]
  return has ? null : `Node ${version.slice(1)} cannot set SO_REUSEPORT (22.12, 23.1 and newer can)`
}
