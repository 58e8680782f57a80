import { subscribe } from 'node:diagnostics_channel'
import { ENV_CHANNEL, ENV_COMPAT, ENV_PATHS, ENV_READY, ENV_TOKEN } from '../protocol.js'
import { ENV_BINDING, ENV_CLUSTER, type Handed } from './environment.js'
import { withRequire } from './node-options.js'

interface SpawnOptions {
  envPairs?: string[]
}
interface SpawningProcess {
  spawn(options: SpawnOptions): unknown
}
interface SpawnSyncBinding {
  spawn(options: SpawnOptions): unknown
}
type Execve = (file: string, args?: readonly string[], env?: Record<string, string | undefined>) => never
type ProcessInternals = {
  binding?(name: string): unknown
  execve?: Execve
  noDeprecation?: boolean
}

/** Published by the constructor of ChildProcess, before its `spawn`. */
const CHILD_PROCESS = 'child_process'

/**
 * Until this process has claimed an address it may be a wrapper (npm, npx, tsx, nodemon) whose child is the worker: what it starts gets
 * our variables back. Nothing is loaded for it: child_process alone would cost a process that never spawns 2-4 ms.
 * The returned function ends it.
 */
export function passOn(handed: Handed): () => void {
  let isOver = false
  const onChild = (message: unknown): void => {
    const child = (message as { process: SpawningProcess }).process
    child.spawn = (options) => {
      delete (child as Partial<SpawningProcess>).spawn
      if (isOfCluster(options.envPairs)) options.envPairs = forCluster(options.envPairs, handed)
      else if (!isOver) options.envPairs = withOurs(options.envPairs, handed)
      return child.spawn(options)
    }
  }
  // Not ended: the children of node:cluster, and those that come after them, drain for their primary.
  subscribe(CHILD_PROCESS, onChild)
  const endSync = hookSync(handed)
  const endExecve = hookExecve(handed)
  return () => {
    isOver = true
    endSync()
    endExecve()
  }
}

/** The one function below spawnSync, execSync and execFileSync, also for who imported them by name. Without it they pass nothing on. */
function hookSync(handed: Handed): () => void {
  const internals = process as unknown as ProcessInternals
  const quiet = internals.noDeprecation
  let binding: SpawnSyncBinding
  try {
    // --pending-deprecation would warn of process.binding (DEP0111).
    internals.noDeprecation = true
    binding = internals.binding?.('spawn_sync') as SpawnSyncBinding
  } catch {
    return () => {}
  } finally {
    if (quiet === undefined) delete internals.noDeprecation
    else internals.noDeprecation = quiet
  }
  if (typeof binding?.spawn !== 'function') return () => {}
  const original = binding.spawn
  const hooked = (options: SpawnOptions): unknown => {
    options.envPairs = withOurs(options.envPairs, handed)
    return original.call(binding, options)
  }
  binding.spawn = hooked
  return () => {
    if (binding.spawn === hooked) binding.spawn = original
  }
}

/** process.execve (Node 22.15): the wrapper becomes its child. */
function hookExecve(handed: Handed): () => void {
  const internals = process as unknown as ProcessInternals
  const original = internals.execve
  if (original === undefined) return () => {}
  const hooked: Execve = (file, args, env = process.env) => {
    const pairs = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
    return original.call(process, file, args ?? [], Object.fromEntries(withOurs(pairs, handed).map(nameAndValue)))
  }
  internals.execve = hooked
  return () => {
    if (internals.execve === hooked) internals.execve = original
  }
}

function isOfCluster(pairs: readonly string[] | undefined): pairs is readonly string[] {
  return pairs?.some((pair) => pair.startsWith('NODE_UNIQUE_ID=')) ?? false
}

/** It listens through its primary: our code in it is told what to do by that. */
function forCluster(pairs: readonly string[], { binding, requireOption }: Handed): string[] {
  if (requireOption === undefined) return [...pairs]
  const options = pairs.find((pair) => pair.startsWith('NODE_OPTIONS='))?.slice('NODE_OPTIONS='.length)
  return [
    ...pairs.filter((pair) => !pair.startsWith('NODE_OPTIONS=')),
    `${ENV_CLUSTER}=1`,
    ...(binding === undefined ? [] : [`${ENV_BINDING}=${binding}`]),
    `NODE_OPTIONS=${withRequire(options, requireOption)}`,
  ]
}

function withOurs(given: readonly string[] | undefined, handed: Handed): string[] {
  const pairs = given ?? Object.entries(process.env).map(([name, value]) => `${name}=${value}`)
  const value = (name: string): string | undefined =>
    pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1)
  // One that has a token already belongs to a launcher inside this program. (A child of node:cluster is forked, never spawned in a sync way.)
  if (value('NODE_UNIQUE_ID') !== undefined || value(ENV_TOKEN) !== undefined) return [...pairs]
  const ours = [`${ENV_CHANNEL}=${handed.channel}`, `${ENV_TOKEN}=${handed.token}`]
  if (handed.binding !== undefined) ours.push(`${ENV_BINDING}=${handed.binding}`)
  if (handed.ready !== undefined) ours.push(`${ENV_READY}=${handed.ready}`)
  if (handed.compat !== undefined) ours.push(`${ENV_COMPAT}=${handed.compat}`)
  if (handed.paths !== undefined) ours.push(`${ENV_PATHS}=${handed.paths}`)
  if (handed.requireOption === undefined) return [...pairs, ...ours]
  ours.push(`NODE_OPTIONS=${withRequire(value('NODE_OPTIONS'), handed.requireOption)}`)
  return [...pairs.filter((pair) => !pair.startsWith('NODE_OPTIONS=')), ...ours]
}

function nameAndValue(pair: string): [string, string] {
  const at = pair.indexOf('=')
  return [pair.slice(0, at), pair.slice(at + 1)]
}
