import { resolve } from 'node:path'
import type { Launcher } from '../launcher/launcher.js'
import { DevLoop } from '../launcher/watch/dev-loop.js'
import { quiet } from '../launcher/watch/quiet.js'
import type { Log } from '../log.js'
import type { LauncherOptions, WatchOptions } from '../options.js'

/** A launcher that is told to reload when its program changes. */
export interface Watched {
  /** What the launcher says goes here. */
  readonly log: Log
  /** From here on; what has changed since the beginning counts. */
  obey(launcher: Launcher): void
}

/** `log`: where what is said goes; `file`: the config file. */
export function watched(
  options: LauncherOptions & { readonly watch: WatchOptions },
  { directory, file, log }: { directory: string; file: string | null; log: Log },
): Watched {
  const { watch, envFiles, logFile, pidFile, runtimeDir } = options
  let launcher: Launcher | undefined
  let isEarly = false
  const loop = new DevLoop({
    options: watch,
    directory,
    files: [...envFiles.map((one) => resolve(directory, one)), ...(file === null ? [] : [file])],
    own: [logFile, pidFile, runtimeDir].flatMap((path) => (path === undefined ? [] : resolve(directory, path))),
    log,
    reload: () => {
      if (launcher === undefined) isEarly = true
      else void launcher.reload()
    },
  })
  return {
    log: (level, event, fields) => {
      log(level, event, fields)
      loop.heard(event, fields ?? {})
    },
    obey: (started) => {
      launcher = started
      if (isEarly) void started.reload()
    },
  }
}

export { quiet }
