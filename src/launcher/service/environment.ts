/** What the service manager tells a process by its environment, and means for that one alone. */
export interface ServiceEnvironment {
  /** Where it listens; undefined: nobody wants to know. */
  readonly socket: string | undefined
  /** It wants to be told so often at least that all is well; undefined: it does not ask. */
  readonly watchdogMs: number | undefined
  /** Descriptors that it keeps for this service while that is down; 0: none. */
  readonly mostStored: number
  /** As they were given to us: for who takes this process's place. */
  readonly variables: Readonly<Record<string, string>>
}

/** systemd 254 and newer sets FDSTORE (systemd.exec(5)); for an older one a unit can say it by Environment=. */
const VARIABLES = ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID', 'FDSTORE'] as const

/** Takes it out of the environment: a worker that spoke to the manager would speak for the launcher. */
export function takeServiceEnvironment(env: NodeJS.ProcessEnv = process.env): ServiceEnvironment {
  const variables: Record<string, string> = {}
  for (const name of VARIABLES) {
    const value = env[name]
    delete env[name]
    if (value !== undefined) variables[name] = value
  }
  const { NOTIFY_SOCKET: socket = '', WATCHDOG_PID: pid = String(process.pid) } = variables
  const watchdog = wholeNumber(variables['WATCHDOG_USEC'])
  return {
    // The other form, vsock:, is for a virtual machine's own manager.
    socket: /^[/@]/.test(socket) ? socket : undefined,
    watchdogMs: watchdog === 0 || pid !== String(process.pid) ? undefined : watchdog / 1_000,
    mostStored: wholeNumber(variables['FDSTORE']),
    variables,
  }
}

function wholeNumber(text = ''): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : 0
}
