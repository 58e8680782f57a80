import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { ReuseportError } from '../../errors.js'
import type { Evaluated } from './evaluate.js'

/** A program that makes a config may look something up, but a start or a reload must not wait for ever. */
const TIMEOUT_MS = 10_000

export interface ConfigFile {
  readonly path: string
  readonly content: unknown
  /** The line on which a key of the first level stands; undefined: not known. */
  readonly lineOf: (key: string) => number | undefined
}

/** Throws ERR_CONFIG. */
export async function readConfig(path: string, timeoutMs: number = TIMEOUT_MS): Promise<ConfigFile> {
  if (!path.endsWith('.json')) return { path, content: await evaluate(path, timeoutMs), lineOf: () => undefined }
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw unreadable(path, code === 'ENOENT' ? 'there is no such file' : message, cause)
  }
  try {
    return { path, content: JSON.parse(text), lineOf: linesOfKeys(text) }
  } catch (cause) {
    // Newer versions of Node say the line, older ones how many characters come before.
    const { message } = cause as Error
    const at = /at position (\d+)/.exec(message)?.[1]
    const line = at === undefined ? text.split('\n').length : text.slice(0, Number(at)).split('\n').length
    const what = message.replace(/,? ?(in JSON )?at position \d+.*$/, '').replace(/, "[\s\S]*$/, '')
    throw unreadable(`${path}:${line}`, what, cause)
  }
}

function unreadable(path: string, why: string, cause?: unknown, next?: string): ReuseportError {
  return new ReuseportError('ERR_CONFIG', `${path} cannot be read: ${why}`, {
    facts: { path },
    ...(next === undefined ? {} : { next }),
    ...(cause === undefined ? {} : { cause }),
  })
}

/**
 * What the file exports. In a thread of its own: each time it is read anew, with all that it imports, what it does to the process is gone
 * with it, and if it does not end it can be ended.
 */
async function evaluate(path: string, timeoutMs: number): Promise<unknown> {
  const { Worker } = require('node:worker_threads') as typeof import('node:worker_threads')
  // What it prints is no answer of ours.
  const thread = new Worker(join(__dirname, 'evaluate.js'), { workerData: path, stdout: true })
  thread.stdout.on('data', (chunk) => process.stderr.write(chunk))
  let end = 'it ended'
  const timer = setTimeout(() => {
    end = `it did not end within ${timeoutMs} ms`
    void thread.terminate()
  }, timeoutMs)
  try {
    const said = await answer(thread, () => end)
    if ('content' in said) return said.content
    if (said.code === 'ERR_UNKNOWN_FILE_EXTENSION' && /\.m?ts$/.test(path))
      throw unreadable(
        path,
        `Node ${process.version} cannot read TypeScript`,
        undefined,
        'Node 22.18 and newer can. Or name it .mjs.',
      )
    throw unreadable(path, said.message)
  } finally {
    clearTimeout(timer)
    await thread.terminate()
  }
}

function answer(thread: Worker, end: () => string): Promise<Evaluated> {
  return new Promise((resolve) => {
    thread.once('message', resolve)
    thread.once('error', ({ message }) => resolve({ message, code: undefined }))
    thread.once('exit', () => resolve({ message: end(), code: undefined }))
  })
}

/** Where each key of the outermost object of a JSON text stands. */
function linesOfKeys(text: string): (key: string) => number | undefined {
  const lines = new Map<string, number>()
  let depth = 0
  let line = 1
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]\n]/g)) {
    if (token === '{' || token === '[') depth += 1
    else if (token === '}' || token === ']') depth -= 1
    else if (token === '\n') line += 1
    else {
      if (depth === 1 && token.endsWith(':')) lines.set(JSON.parse(token.slice(0, -1).trim()) as string, line)
      line += token.split('\n').length - 1
    }
  }
  return (key) => lines.get(key)
}
