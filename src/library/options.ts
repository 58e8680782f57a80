import { ReuseportError } from '../errors.js'
import { MEETING, MEETING_VERSION, type Meeting } from '../meeting.js'

/** As the launcher's --ready-timeout and --drain-timeout. */
const HANDOVER_DEFAULTS = { readyTimeoutMs: 60_000, drainTimeoutMs: 30_000, migrate: true, udpLingerMs: 0 }

type Asked = {
  readonly [K in keyof typeof HANDOVER_DEFAULTS]?: (typeof HANDOVER_DEFAULTS)[K] | undefined
} & { readonly onSignal?: NodeJS.Signals | undefined; readonly pidFile?: string | undefined }

/** What belongs to `handover` among the options of a listener, with the defaults. */
export function handoverOf({
  readyTimeoutMs,
  drainTimeoutMs,
  migrate,
  udpLingerMs,
  onSignal,
  pidFile,
}: Asked): typeof HANDOVER_DEFAULTS & { readonly onSignal?: NodeJS.Signals; readonly pidFile?: string } {
  return { ...HANDOVER_DEFAULTS, ...given({ readyTimeoutMs, drainTimeoutMs, migrate, udpLingerMs, onSignal, pidFile }) }
}

/** To Node a port that is there and undefined is a random one. */
export function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never
}

/** undefined: no launcher has started this process. */
export function findMeeting(): Meeting | undefined {
  const meeting = (globalThis as { [MEETING]?: Meeting })[MEETING]
  if (meeting === undefined || meeting.version === MEETING_VERSION) return meeting
  // It would listen, and serve before ready().
  throw new ReuseportError('ERR_PROTOCOL', 'the launcher cannot be told by this version of the library who is ready', {
    facts: { launcher: meeting.version, library: MEETING_VERSION },
    next: 'Install the same version of reuseport-run for the program and for the launcher.',
  })
}
