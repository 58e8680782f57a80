import { constants } from 'node:os'
import { CtrlC } from '../ctrl-c.js'
import type { Log } from '../log.js'
import type { Launcher } from './launcher.js'
import { hasTerminal } from './terminal.js'
import type { SavedSignals } from './upgrade/image.js'

export interface CaughtSignals {
  obey(launcher: Launcher): void
  /** For another image of this process. */
  save(): SavedSignals
}

/**
 * What each signal to the launcher means. HUP reload (but the end of the terminal that it was started from: stop) · TERM drain and stop ·
 * INT the same, a second one leaves 2 s, a third none · QUIT stop now · TTIN, TTOU one worker more, one less; not with a terminal, which has
 * its own use for them · USR1 open the log file again, if there is one · USR2 upgrade the launcher, then reload · PWR stop, as an init has it
 * (lxc-stop sends it to PID 1). Those without a meaning that would end this process, or open its inspector, if nobody caught them are named
 * and left without effect. docs/signals.md has all of them.
 *
 * To be called before the launcher has made anything: what a signal orders while there is no launcher yet waits for `obey`.
 */
export function catchSignals(log: Log, reopenLog?: () => void, saved?: SavedSignals): CaughtSignals {
  const hadTerminal = saved?.hadTerminal ?? hasTerminal()
  const early: ((launcher: Launcher) => void)[] = []
  let launcher: Launcher | undefined
  const order = (what: (launcher: Launcher) => void): void => {
    if (launcher === undefined) early.push(what)
    else what(launcher)
  }
  let interrupts = saved?.interrupts ?? 0
  const ctrlC = new CtrlC()
  process.on('SIGHUP', () => {
    if (hadTerminal && !hasTerminal()) {
      log('info', 'signal', { signal: 'SIGHUP', meaning: 'the terminal is gone: stop' })
      order((one) => one.stop())
    } else {
      log('info', 'signal', { signal: 'SIGHUP', meaning: 'reload' })
      order((one) => void one.reload())
    }
  })
  for (const signal of ['SIGTERM', 'SIGPWR'] as const)
    process.on(signal, () => {
      log('info', 'signal', { signal, meaning: 'stop' })
      order((one) => one.stop())
    })
  process.on('SIGINT', () => {
    if (!ctrlC.isPress()) return
    interrupts += 1
    log('info', 'signal', {
      signal: 'SIGINT',
      meaning:
        interrupts === 1 ? 'stop (again: within 2 s)' : interrupts === 2 ? 'stop within 2 s (again: at once)' : 'kill',
    })
    if (interrupts === 1) order((one) => one.stop())
    else order((one) => one.stop({ pressure: 'more', exitCode: 128 + constants.signals.SIGINT }))
  })
  process.on('SIGQUIT', () => {
    log('info', 'signal', { signal: 'SIGQUIT', meaning: 'stop now' })
    order((one) => one.stop({ pressure: 'now', exitCode: 128 + constants.signals.SIGQUIT }))
  })
  for (const [signal, by] of [
    ['SIGTTIN', 1],
    ['SIGTTOU', -1],
  ] as const)
    process.on(signal, () => {
      if (hadTerminal) return log('warn', 'signal', { signal, meaning: 'none under a terminal' })
      log('info', 'signal', { signal, meaning: by > 0 ? 'one worker more' : 'one worker less' })
      order((one) => one.scale({ workers: by, isRelative: true }))
    })
  if (reopenLog !== undefined) process.on('SIGUSR1', reopenLog)
  for (const signal of WITHOUT_MEANING.filter((one) => reopenLog === undefined || one !== 'SIGUSR1'))
    process.on(signal, () => log('warn', 'signal', { signal, meaning: 'none in this version' }))
  process.on('SIGUSR2', () => {
    log('info', 'signal', { signal: 'SIGUSR2', meaning: 'upgrade, then reload' })
    order((one) => one.upgrade({ reload: true }))
  })
  return {
    obey: (started) => {
      launcher = started
      for (const what of early.splice(0)) what(started)
    },
    save: () => ({ hadTerminal, interrupts }),
  }
}

/** Nobody sends them but by mistake, or to what this process is not. */
const WITHOUT_MEANING = ['SIGUSR1', 'SIGALRM', 'SIGVTALRM', 'SIGIO', 'SIGSTKFLT'] as const
