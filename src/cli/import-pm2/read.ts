import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { runInNewContext } from 'node:vm'
import { ReuseportError } from '../../errors.js'
import { readConfig } from '../config/read.js'

/** What an ecosystem file of PM2 holds. */
export interface Ecosystem {
  readonly path: string
  readonly apps: readonly Readonly<Record<string, unknown>>[]
  /** It has a section for `pm2 deploy`. */
  readonly deploys: boolean
}

/** Longer than any file of plain data needs. */
const TIMEOUT_MS = 1_000

/** Throws ERR_CONFIG. */
export async function readEcosystem(name: string, directory: string): Promise<Ecosystem> {
  const path = resolve(directory, name)
  const content = await contentOf(path)
  const list = Array.isArray(content) ? content : isRecord(content) ? (content['apps'] ?? content) : undefined
  const apps = (Array.isArray(list) ? list : [list]).filter(isRecord)
  if (apps.length === 0 || !apps.some((app) => 'script' in app || 'exec' in app || 'command' in app))
    throw refuse(path, 'it holds no program: neither `apps` nor a `script`')
  return { path, apps, deploys: isRecord(content) && content['deploy'] !== undefined }
}

function contentOf(path: string): unknown {
  if (path.endsWith('.json')) return jsonOf(path)
  if (/\.ya?ml$/.test(path)) return yamlOf(path)
  return readConfig(path).then(({ content }) => content)
}

/** PM2 takes what JavaScript takes: comments, single quotes, commas at the end. */
function jsonOf(path: string): unknown {
  const text = textOf(path)
  try {
    return JSON.parse(text)
  } catch {
    try {
      return JSON.parse(JSON.stringify(runInNewContext(`(${text}\n)`, {}, { timeout: TIMEOUT_MS })))
    } catch (cause) {
      throw refuse(path, (cause as Error).message, cause)
    }
  }
}

/** We have no parser for it; the project may. */
function yamlOf(path: string): unknown {
  const text = textOf(path)
  const find = createRequire(path)
  for (const [name, method] of [
    ['yaml', 'parse'],
    ['js-yaml', 'load'],
  ] as const) {
    let parser: Record<string, (text: string) => unknown>
    try {
      parser = find(name)
    } catch {
      continue
    }
    try {
      return parser[method]?.(text)
    } catch (cause) {
      throw refuse(path, (cause as Error).message, cause)
    }
  }
  throw new ReuseportError('ERR_CONFIG', `${path} cannot be read: YAML needs a parser, and this package has none`, {
    facts: { path },
    next: 'Install `yaml` or `js-yaml` beside it, or turn it into JSON: npx js-yaml ecosystem.yml > ecosystem.json',
  })
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw refuse(path, code === 'ENOENT' ? 'there is no such file' : message, cause)
  }
}

function refuse(path: string, why: string, cause?: unknown): ReuseportError {
  return new ReuseportError('ERR_CONFIG', `${path} cannot be read: ${why}`, { facts: { path }, cause })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
