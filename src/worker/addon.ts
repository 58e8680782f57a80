import type { Native } from '../native.js'
import { ENV_BINDING } from './environment.js'

/** The addon, with the developer's choice of it for that one moment back in the environment (native.ts reads it there). */
export function loadAddon(binding: string | undefined): Native {
  const { native } = require('../native.js') as typeof import('../native.js')
  if (binding === undefined) return native()
  process.env[ENV_BINDING] = binding
  try {
    return native()
  } finally {
    delete process.env[ENV_BINDING]
  }
}
