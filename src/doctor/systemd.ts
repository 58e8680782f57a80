import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { type Finding, ok } from './finding.js'

/** systemctl answers at once; one that hangs has lost its bus. */
const ANSWER_MS = 3_000

/** systemd's version; null where there is none. */
export function systemdVersion(systemctl = 'systemctl'): number | null {
  try {
    const text = execFileSync(systemctl, ['--version'], {
      encoding: 'utf8',
      timeout: ANSWER_MS,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [, version] = /^systemd (\d+)/.exec(text) ?? []
    return version === undefined ? null : Number(version)
  } catch {
    return null
  }
}

/** `isRunning`: it is this machine's init (sd_booted(3)). */
export function checkSystemd(version: number | null, isRunning: boolean = existsSync('/run/systemd/system')): Finding {
  if (version === null) return ok('systemd', 'not here')
  const state = isRunning ? '' : ', but does not run here'
  return ok('systemd', `${version}${state}`)
}
