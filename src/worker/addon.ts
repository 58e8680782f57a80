import type { Native } from '../native'
import { ENV_BINDING } from './environment'

/** The addon, with the developer's choice of it for that one moment back in the environment (native.ts reads it there). */
export function loadAddon(binding: string | undefined): Native {
  const { native } = require('../native') as typeof import('../native')
  if (binding === undefined) return native()
  process.env[ENV_BINDING] = binding
  try {
    return native()
  } finally {
    delete process.env[ENV_BINDING]
  }
}
