import { isTerminal } from './is-terminal.js'

/** NO_COLOR and FORCE_COLOR as at no-color.org and force-color.org. */
export function isColoured(fd: number, { NO_COLOR, FORCE_COLOR, TERM }: NodeJS.ProcessEnv = process.env): boolean {
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
  return isTerminal(fd) && TERM !== 'dumb'
}
