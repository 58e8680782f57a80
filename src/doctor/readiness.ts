import type { LauncherOptions } from '../options.js'
import { type Finding, ok, warn } from './finding.js'

/** What a new version must show before it gets a connection. */
export function checkReadiness({ health, ready }: Pick<LauncherOptions, 'health' | 'ready'>): Finding {
  if (health !== undefined)
    return ok('readiness', `a new worker is asked: ${health.kind === 'tcp' ? 'tcp' : health.target}`)
  if (ready === 'message' || ready === 'notify') return ok('readiness', `a new worker says when it is ready (${ready})`)
  return warn(
    'readiness',
    ready === 'alive' ? 'a new worker is ready when it has run for a while' : 'a new worker is ready when it listens',
    'Ask it before it serves: --health /healthz',
  )
}
