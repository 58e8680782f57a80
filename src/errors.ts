/** Facts of an error: plain values, named as in the logs (pid, slot, generation, path, port ...). */
export type Facts = Readonly<Record<string, string | number | boolean | null | readonly string[]>>

export type ErrorCode =
  | 'ERR_ADDON_NOT_FOUND'
  | 'ERR_ADDRESS'
  | 'ERR_ADDRESS_IN_USE'
  | 'ERR_CANARY'
  | 'ERR_CHANNEL'
  | 'ERR_COMMAND_NOT_EXECUTABLE'
  | 'ERR_COMMAND_NOT_FOUND'
  | 'ERR_CONFIG'
  | 'ERR_CONTROL'
  | 'ERR_ENV_FILE'
  | 'ERR_HANDOVER'
  | 'ERR_HANDOVER_BUSY'
  | 'ERR_LOG_FILE'
  | 'ERR_MEMORY'
  | 'ERR_NAME_TAKEN'
  | 'ERR_NO_LAUNCHER'
  | 'ERR_ORPHANS'
  | 'ERR_PERMISSION'
  | 'ERR_PID_FILE'
  | 'ERR_PLATFORM'
  | 'ERR_PROTOCOL'
  | 'ERR_RUNTIME_DIR'
  | 'ERR_START_FAILED'
  | 'ERR_TIMED_OUT'
  | 'ERR_UPGRADE'
  | 'ERR_USAGE'
  | 'ERR_USER'
  | 'ERR_WORKING_DIRECTORY'

/**
 * Every error of this package. `message` = what happened; `facts` = the numbers as fields; `cause` = the original; `next` = what to do
 * about it. Each code has a heading in docs/errors.md, and `exitCode` is what the command line ends with (design: 1 failed, 2 usage,
 * 3 no launcher, 4 reload aborted, 5 timed out, 75 busy, 126/127 command).
 */
export class ReuseportError extends Error {
  override readonly name = 'ReuseportError'
  readonly code: ErrorCode
  readonly facts: Facts
  readonly next: string | undefined
  readonly exitCode: number

  constructor(code: ErrorCode, message: string, options: { facts?: Facts; next?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.facts = options.facts ?? {}
    this.next = options.next
    this.exitCode = EXIT_CODES[code]
  }

  /** One paragraph for a terminal: code, message, next step. */
  describe(): string {
    return `${this.code}: ${this.message}${this.next === undefined ? '' : `\n  ${this.next}`}`
  }
}

const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  ERR_ADDON_NOT_FOUND: 1,
  ERR_ADDRESS: 1,
  ERR_ADDRESS_IN_USE: 1,
  ERR_CANARY: 1,
  ERR_CHANNEL: 1,
  ERR_COMMAND_NOT_EXECUTABLE: 126,
  ERR_COMMAND_NOT_FOUND: 127,
  ERR_CONFIG: 2,
  ERR_CONTROL: 1,
  ERR_ENV_FILE: 2,
  ERR_HANDOVER: 1,
  ERR_HANDOVER_BUSY: 75,
  ERR_LOG_FILE: 1,
  ERR_MEMORY: 4,
  ERR_NAME_TAKEN: 75,
  ERR_NO_LAUNCHER: 3,
  ERR_ORPHANS: 75,
  ERR_PERMISSION: 1,
  ERR_PID_FILE: 1,
  ERR_PLATFORM: 2,
  ERR_PROTOCOL: 1,
  ERR_RUNTIME_DIR: 1,
  ERR_START_FAILED: 1,
  ERR_TIMED_OUT: 5,
  ERR_UPGRADE: 1,
  ERR_USAGE: 2,
  ERR_USER: 2,
  ERR_WORKING_DIRECTORY: 1,
}
