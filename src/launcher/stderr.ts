import { createLog, type Log } from '../log.js'
import { Outlet } from './outlet.js'

/** This process's. */
export const stderr: Outlet = new Outlet(2)
/** It is the program's: only lines of workers go there, if they go through us. */
export const stdout: Outlet = new Outlet(1)

/** The launcher's log, on stderr. */
export function openLog(format: 'text' | 'json'): Log {
  const log = createLog(format, (text) => stderr.write(text))
  tellDropped(log)
  return log
}

export function tellDropped(log: Log): void {
  stderr.tellDropped = (lines) => log('warn', 'log.dropped', { stream: 'stderr', lines })
  stdout.tellDropped = (lines) => log('warn', 'log.dropped', { stream: 'stdout', lines })
}
