import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { ReuseportError } from '../errors.js'

/** A variable of the environment, as shells and Node take it. */
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/

/**
 * Variables of a file in the form that `node --env-file` reads. Node passes over what it does not understand; here one bad line refuses the
 * file: a deploy must not run with half of its settings. Throws ERR_ENV_FILE with file and line.
 */
export function readEnvFile(name: string, directory: string): Readonly<Record<string, string>> {
  const file = resolve(directory, name)
  let text: string
  try {
    text = readFileSync(file, 'utf8').replaceAll('\r\n', '\n')
  } catch (cause) {
    throw refuse(file, null, `cannot be read: ${(cause as Error).message}`, cause)
  }
  checkLines(file, text)
  return Object.fromEntries(Object.entries(parseEnv(text)).map(([key, value]) => [key, value ?? '']))
}

function checkLines(file: string, text: string): void {
  if (text.includes('\0')) throw refuse(file, null, 'holds a NUL byte')
  for (let at = 0, line = 1; at < text.length; ) {
    const end = endOfLine(text, at)
    const content = text.slice(at, end).trim()
    let next = end
    if (content !== '' && !content.startsWith('#')) {
      const equals = text.indexOf('=', at)
      const name = text
        .slice(at, equals)
        .trim()
        .replace(/^export\s+/, '')
      // What stands there is not shown: it may be the second line of a secret.
      if (equals < 0 || equals > end) throw refuse(file, line, 'is neither NAME=value nor a comment')
      if (!NAME.test(name)) throw refuse(file, line, 'does not begin with the name of a variable')
      next = endOfValue(file, text, equals + 1, line)
    }
    line += text.slice(at, next).split('\n').length
    at = next + 1
  }
}

/** The end of the line on which a value ends: one in quotes may go over several. */
function endOfValue(file: string, text: string, from: number, line: number): number {
  const start = from + (/^[ \t]*/.exec(text.slice(from, endOfLine(text, from)))?.[0].length ?? 0)
  const quote = text[start]
  if (quote !== '"' && quote !== "'" && quote !== '`') return endOfLine(text, start)
  const close = text.indexOf(quote, start + 1)
  if (close < 0) throw refuse(file, line, `begins a value with ${quote} and does not end it`)
  return endOfLine(text, close)
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}

function refuse(file: string, line: number | null, what: string, cause?: unknown): ReuseportError {
  const where = line === null ? `the environment file ${file}` : `line ${line} of the environment file ${file}`
  return new ReuseportError('ERR_ENV_FILE', `${where} ${what}`, {
    facts: { path: file, line },
    next: 'Lines are NAME=value, in quotes over several lines if need be, or comments (#).',
    cause,
  })
}
