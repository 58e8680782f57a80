import { realpathSync } from 'node:fs'
import { basename } from 'node:path'

/**
 * NODE_OPTIONS as Node reads it (src/node_options.cc, ParseNodeOptionsEnvVar): words between spaces, double quotes hold spaces, a
 * backslash escapes inside quotes only.
 */
interface Word {
  readonly value: string
  readonly start: number
  readonly end: number
}

/** Takes every `--require <file>` out. `piece` is the text that was there, to be given to a child again. */
export function withoutRequire(options: string, file: string): { rest: string; piece: string | undefined } {
  let rest = options
  let piece: string | undefined
  for (;;) {
    const found = findRequire(words(rest), file)
    if (found === undefined) return { rest, piece }
    piece = rest.slice(found.start, found.end)
    // One of the two spaces around the piece goes with it.
    const before = rest.slice(0, found.start)
    const after = rest.slice(found.end)
    rest = before.endsWith(' ') ? before.slice(0, -1) + after : before + after.replace(/^ /, '')
  }
}

export function withRequire(options: string | undefined, piece: string): string {
  return options === undefined || options === '' ? piece : `${options} ${piece}`
}

function findRequire(list: readonly Word[], file: string): { start: number; end: number } | undefined {
  for (const [index, word] of list.entries()) {
    if (word.value === '--require' || word.value === '-r') {
      const next = list[index + 1]
      if (next !== undefined && isFile(next.value, file)) return { start: word.start, end: next.end }
    } else if (word.value.startsWith('--require=') && isFile(word.value.slice('--require='.length), file)) {
      return { start: word.start, end: word.end }
    }
  }
  return undefined
}

/** `file` is a real path (Node resolves symlinks of a preload), the option may name it through a symlink. */
function isFile(path: string, file: string): boolean {
  if (path === file) return true
  if (basename(path) !== basename(file)) return false
  try {
    return realpathSync(path) === file
  } catch {
    return false
  }
}

function words(text: string): Word[] {
  const list: Word[] = []
  let value = ''
  let start = -1
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    let char = text.charAt(at)
    if (char === ' ' && !quoted) {
      if (start >= 0) list.push({ value, start, end: at })
      start = -1
      value = ''
      continue
    }
    if (start < 0) start = at
    if (char === '"') {
      quoted = !quoted
      continue
    }
    if (char === '\\' && quoted && at + 1 < text.length) char = text.charAt(++at)
    value += char
  }
  if (start >= 0) list.push({ value, start, end: text.length })
  return list
}
