import { readFileSync } from 'node:fs'
import { ENV_CHANNEL, ENV_COMPAT, ENV_PATHS, ENV_READY, ENV_TOKEN } from '../protocol.js'
import { withoutRequire } from './node-options.js'

/** Where a developer's or package's other addon build lies; read by native.ts. */
export const ENV_BINDING = 'REUSEPORT_RUN_BINDING'

/** Set by a primary of node:cluster for its children. */
export const ENV_CLUSTER = 'REUSEPORT_RUN_CLUSTER'

/** What the launcher gave this spawn by its environment. */
export interface Handed {
  readonly channel: string
  readonly token: string
  readonly binding: string | undefined
  /** What the program will say when it is ready, beside 'listening'; undefined: nothing that we hear. */
  readonly ready: string | undefined
  /** 'pm2': the program is made for it. */
  readonly compat: string | undefined
  /** Unix paths that are served, as JSON. */
  readonly paths: string | undefined
  /** Our part of NODE_OPTIONS, word for word. */
  readonly requireOption: string | undefined
  /** 0 in the main thread. */
  readonly thread: number
}

/**
 * Takes our variables out of `process.env`, so that neither the program nor what it starts sees them, and gives what they said.
 * undefined: not started by a launcher.
 */
export function takeEnvironment(preload: string): Handed | undefined {
  const env = process.env
  const channel = env[ENV_CHANNEL]
  const token = env[ENV_TOKEN]
  const binding = env[ENV_BINDING]
  const paths = env[ENV_PATHS]
  delete env[ENV_CHANNEL]
  delete env[ENV_TOKEN]
  const ready = env[ENV_READY]
  const compat = env[ENV_COMPAT]
  delete env[ENV_BINDING]
  delete env[ENV_COMPAT]
  delete env[ENV_READY]
  delete env[ENV_PATHS]
  const requireOption = takeRequireOption(env, preload)
  if (channel && token) return { channel, token, binding, ready, compat, paths, requireOption, thread: 0 }
  return takeFromProcess()
}

/** A child of node:cluster, whose primary is our worker: which addon build it is to use. Before `takeEnvironment`. */
export function takeClusterChild(): { readonly binding: string | undefined } | undefined {
  const { [ENV_CLUSTER]: mark, [ENV_BINDING]: binding } = process.env
  delete process.env[ENV_CLUSTER]
  return mark === undefined ? undefined : { binding }
}

function takeRequireOption(env: NodeJS.ProcessEnv, preload: string): string | undefined {
  const options = env['NODE_OPTIONS']
  if (options === undefined) return undefined
  const { rest, piece } = withoutRequire(options, preload)
  if (piece === undefined) return undefined
  if (rest === '') delete env['NODE_OPTIONS']
  else env['NODE_OPTIONS'] = rest
  return piece
}

/**
 * A worker_thread starts with a copy of the main thread's environment, which is clean already, but the kernel still shows the one
 * that the process was started with. Reading it here costs the main thread nothing, while `setEnvironmentData` would make every
 * process load worker_threads (1.6-2 ms). It cannot be read after the program dropped its privileges (a process that is not dumpable).
 */
function takeFromProcess(): Handed | undefined {
  const { isMainThread, threadId } = require('node:worker_threads') as typeof import('node:worker_threads')
  if (isMainThread) return undefined
  let text: string
  try {
    text = readFileSync('/proc/self/environ', 'utf8')
  } catch {
    return undefined
  }
  const variable = (name: string): string | undefined => {
    const pair = text.split('\0').find((one) => one.startsWith(`${name}=`))
    return pair?.slice(name.length + 1)
  }
  const channel = variable(ENV_CHANNEL)
  const token = variable(ENV_TOKEN)
  if (!channel || !token) return undefined
  const [binding, paths] = [variable(ENV_BINDING), variable(ENV_PATHS)]
  return {
    channel,
    token,
    binding,
    ready: undefined,
    compat: undefined,
    paths,
    requireOption: undefined,
    thread: threadId,
  }
}
