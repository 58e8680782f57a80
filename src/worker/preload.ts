import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { Claimant } from './claimant.js'
import { type Handed, takeClusterChild, takeEnvironment } from './environment.js'
import { LibraryServers } from './library-servers.js'
import { passOn } from './pass-on.js'
import type { ReadyMessage } from './ready-message.js'

/** Published by net.Server.listen() before it does anything (Node 20.19): what a server needs from us is loaded only then. */
const LISTEN_STARTS = 'tracing:net.server.listen:asyncStart'

/**
 * Bun: uv_poll_init panics the process. Deno: its http server does not come by our hook, so a hold would be ignored. They are run like
 * programs that are not Node.
 */
const { bun, deno } = process.versions
const child = takeClusterChild()
const handed = bun === undefined && deno === undefined ? takeEnvironment(__filename) : undefined

if (handed !== undefined && !isLauncher() && !isLockedOut(handed)) {
  const endPassingOn = handed.thread === 0 ? passOn(handed) : () => {}
  const speaksToParent = handed.ready === 'message' || handed.compat === 'pm2'
  const ready = speaksToParent && handed.thread === 0 ? provideSend() : undefined
  let known: Claimant | undefined
  const claimant = (): Claimant => {
    if (known === undefined) {
      const { Claimant } = require('./claimant.js') as typeof import('./claimant.js')
      known = new Claimant(handed, endPassingOn, ready)
    }
    return known
  }
  const library = LibraryServers.offer((...asked) => {
    const { bindManaged } = require('./bind.js') as typeof import('./bind.js')
    return bindManaged(claimant(), ...asked)
  })
  const install = (): void => {
    // Not inside the channel's own loop over its subscribers.
    process.nextTick(() => unsubscribe(LISTEN_STARTS, install))
    const { installListenHook } = require('./listen-hook.js') as typeof import('./listen-hook.js')
    installListenHook(claimant(), library)
  }
  subscribe(LISTEN_STARTS, install)
  if (handed.paths !== undefined) guardPaths(JSON.parse(handed.paths) as string[])
}

if (child !== undefined && (process as { permission?: unknown }).permission === undefined) {
  const become = (message: unknown): void => {
    process.nextTick(() => unsubscribe(LISTEN_STARTS, become))
    const { ClusterChild } = require('./cluster/child.js') as typeof import('./cluster/child.js')
    new ClusterChild(child.binding, message)
  }
  subscribe(LISTEN_STARTS, become)
}

/** Before the program's first line: it unlinks its path before it listens, while an older worker serves there. */
function guardPaths(paths: readonly string[]): void {
  const { guardPath } = require('./unlink-guard.js') as typeof import('./unlink-guard.js')
  for (const path of paths) guardPath(path)
}

function provideSend(): ReadyMessage {
  return (require('./ready-message.js') as typeof import('./ready-message.js')).provideSend()
}

/** A launcher inside the program, of this installation or another one: what it listens on is its control socket, and its workers are its own. */
function isLauncher(): boolean {
  const [, main] = process.argv
  if (main === undefined) return false
  try {
    const path = realpathSync(main)
    return (
      path === join(__dirname, '..', 'cli', 'main.js') || path.endsWith('/node_modules/reuseport-run/dist/cli/main.js')
    )
  } catch {
    return false
  }
}

function isLockedOut(handed: Handed): boolean {
  if ((process as { permission?: unknown }).permission === undefined) return false
  const { isAddonRefused } = require('./permission.js') as typeof import('./permission.js')
  return isAddonRefused(handed)
}
