import type { Identity } from '../native.js'
import type { HealthOptions } from '../options.js'
import type { RuntimeDir } from '../runtime-dir.js'
import type { Agents } from './agents.js'
import type { WorkerEvent } from './brain/events.js'
import type { State, Worker } from './brain/state.js'
import type { Hand } from './probe/attempt.js'
import type { CommandPlace } from './probe/command.js'
import type { Prober, Try } from './probe/prober.js'
import type { Processes } from './processes.js'
import type { Specs } from './specs.js'

/** What a health check of a worker is made with. */
interface Parts {
  readonly agents: Agents
  readonly processes: Processes
  readonly specs: Specs
  readonly runtime: RuntimeDir
  readonly identity: Identity | undefined
  readonly state: () => State
  readonly post: (event: WorkerEvent) => void
}

/** Whoever asks the workers whether they are well. Loaded only when a health check was asked for. */
export function makeProber(parts: Parts): Prober {
  const { Prober } = require('./probe/prober.js') as typeof import('./probe/prober.js')
  return new Prober({
    healthOf: (worker) => healthOf(worker, parts),
    bakeMs: () => parts.state().settings.bakeMs,
    tryOn: (worker) => tryOn(worker, healthOf(worker, parts), parts),
    post: parts.post,
  })
}

/** As its generation is to be asked. */
function healthOf(worker: number, { state, specs }: Parts): HealthOptions {
  const { generation } = state().workers[worker] as Worker
  return specs.get(generation).health as HealthOptions
}

function tryOn(worker: number, health: HealthOptions, parts: Parts): Try {
  const { agents } = parts
  if (health.kind !== 'command') {
    const { Attempt } = require('./probe/attempt.js') as typeof import('./probe/attempt.js')
    return (done) => new Attempt(health, agents.wayTo(worker, health.port), done)
  }
  const hand: Hand = (fd, answered) => agents.hand(worker, health.port, fd, answered)
  const { CommandAttempt } = require('./probe/command.js') as typeof import('./probe/command.js')
  return (done) => new CommandAttempt(health, placeOf(worker, parts), hand, done)
}

/** Where a health command runs: as the worker does, and with the way to it. */
function placeOf(worker: number, { state, specs, processes, runtime, identity }: Parts): CommandPlace {
  const { generation, slot } = state().workers[worker] as Worker
  const { cwd, env } = specs.get(generation)
  return {
    cwd,
    env,
    pid: processes.get(worker)?.agentPid ?? 0,
    slot,
    identity,
    socket: runtime.healthSocket(worker),
    letWorkersIn: runtime.letWorkersIn,
    own: (pid) => processes.own(pid),
  }
}
