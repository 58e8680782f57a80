/** One event in the launcher's log: a name ("worker.serving"), and facts as fields. */
export type Log = (level: LogLevel, event: string, fields?: Fields) => void
export type LogLevel = 'info' | 'warn' | 'error'
export type Fields = Readonly<Record<string, unknown>>

/** pino's numbers and field names, so that its tools read our lines. */
const PINO_LEVELS = { info: 30, warn: 40, error: 50 } as const

/**
 * Writes one line per event to stderr: "12:00:01.234 worker.serving slot=0 generation=1 pid=4711", or JSON. Lines of a worker's stderr
 * follow their event, indented. Under journald, which stamps lines itself, the time is left out (JOURNAL_STREAM, systemd.exec(5)).
 */
export function createLog(
  format: 'text' | 'json',
  write: (text: string) => void,
  stamped: boolean = process.env['JOURNAL_STREAM'] === undefined,
): Log {
  return (level, event, fields = {}) => {
    if (format === 'json') return write(jsonLine(level, event, fields))
    const time = stamped ? `${new Date().toISOString().slice(11, 23)} ` : ''
    const { stderr, ...rest } = fields
    const words = Object.entries(rest).flatMap(([name, value]) =>
      value === undefined || value === null ? [] : [`${name}=${text(value)}`],
    )
    const lines = Array.isArray(stderr) ? stderr.map((line) => `    | ${visible(String(line))}\n`).join('') : ''
    write(`${time}${level === 'info' ? '' : `${level} `}${[event, ...words].join(' ')}\n${lines}`)
  }
}

/** One event as a line of JSON, for pino's tools. */
export function jsonLine(level: LogLevel, event: string, fields: Fields = {}): string {
  const line = { level: PINO_LEVELS[level], time: Date.now(), pid: process.pid, msg: event, ...rename(fields) }
  // JSON has the others in escapes of its own. U+2028 and U+2029 are line ends to some readers.
  const text = JSON.stringify(line).replace(/[\x7f-\x9f\u2028\u2029]/g, (char) => `\\u${hex(char, 4)}`)
  return `${text}\n`
}

const hex = (char: string, digits: number): string => char.charCodeAt(0).toString(16).padStart(digits, '0')

/** `pid` is the launcher's in every line; a worker's goes by its own name. */
function rename({ pid, ...rest }: Fields): Fields {
  return pid === undefined ? rest : { ...rest, workerPid: pid }
}

function text(value: unknown): string {
  if (Array.isArray(value)) return text(value.join(', '))
  const plain = visible(String(value))
  return plain === '' || /[\s"=]/.test(plain) ? JSON.stringify(plain) : plain
}

/** Nobody forges a line of ours, nor speaks to the terminal through it: control characters are shown, not written. */
export function visible(line: string): string {
  return line.replace(/[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]/g, (char) =>
    char < '\xa0' ? `\\x${hex(char, 2)}` : `\\u${hex(char, 4)}`,
  )
}
