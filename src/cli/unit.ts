import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { systemdVersion } from '../doctor/systemd.js'
import { unitOf } from '../doctor/unit.js'
import type { LauncherOptions } from '../options.js'
import { OPTIONS } from './option-table.js'
import type { Settled } from './settle.js'

/** The unit's, where systemd does not say (systemd.exec(5), $PATH). */
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin'
/** What the unit has in another way, or what is asked of the doctor alone. */
const NOT_PASSED_ON: readonly string[] = ['name']

/** A unit that starts this very launcher with these very words. */
export function unitText(line: Settled, options: LauncherOptions, directory: string): string {
  const isOnPath = SYSTEM_PATH.split(':').includes(dirname(process.execPath))
  const script = process.argv[1] as string
  const { NODE_ENV } = process.env
  return unitOf(
    {
      name: options.name,
      directory,
      user: process.getuid?.() === 0 ? null : userInfo().username,
      program: isOnPath ? [script] : [process.execPath, script],
      options: wordsOf(line),
      command: line.asGiven.command,
      environment: {
        ...(isOnPath ? {} : { PATH: `${dirname(process.execPath)}:${SYSTEM_PATH}` }),
        ...(NODE_ENV === undefined ? {} : { NODE_ENV }),
      },
      runtimeDir: options.runtimeDir,
      workers: options.workers,
    },
    systemdVersion() ?? Number.POSITIVE_INFINITY,
  )
}

/** As they were given, by the command line or the environment: a config file is found again. */
function wordsOf({ values, origins }: Settled): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    const row = OPTIONS.find((one) => one.name === name && one.verbs.includes('start'))
    const from = origins[name]?.from ?? 'file'
    if (row === undefined || from === 'file' || NOT_PASSED_ON.includes(name)) return []
    const word = row.short === undefined ? `--${name}` : `-${row.short}`
    return [value].flat().flatMap((one) => (one === true ? [word] : typeof one === 'string' ? [word, one] : []))
  })
}
