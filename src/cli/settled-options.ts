import type { LauncherOptions } from '../options.js'
import { launcherOptions } from './launcher-options.js'
import { withOrigin } from './origins.js'
import type { Settled } from './settle.js'

/** What a launcher is to be, wherever it is said. Throws ERR_USAGE, or ERR_CONFIG with the place. */
export function settledOptions(line: Settled, directory: string): LauncherOptions {
  try {
    return launcherOptions(line, directory)
  } catch (error) {
    throw withOrigin(error, line.origins)
  }
}
