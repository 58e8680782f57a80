import { spawnSync } from 'node:child_process'
import { read } from './markdown'

/** A command of a page, and what the page says that it prints. */
export interface Command {
  readonly text: string
  /** undefined: the page says nothing of it. */
  readonly prints?: string
  /** It does not end by itself: the next command is for another terminal. */
  readonly stays: boolean
}

export type Part =
  | { readonly do: 'write'; readonly line: number; readonly file: string; readonly text: string }
  | { readonly do: 'run'; readonly line: number; readonly commands: readonly Command[] }
  | { readonly do: 'leave'; readonly line: number; readonly reason: string }
  /** What looks like a command, and nobody runs it. */
  | { readonly do: 'miss'; readonly line: number; readonly text: string }

interface Block {
  readonly line: number
  readonly kind: string
  readonly file: string | undefined
  readonly text: string[]
  readonly marker: string | undefined
}

/** What looks like a command where no command is run. Forms (`reload [options]`) are none. */
const COMMAND =
  /^(\$ |(sudo |npx )?(reuseport-run|npm|node|kill|systemctl|systemd-\w+|docker|kubectl|nomad|curl|etcdctl|ansible\S*) )/
const FORM = /[[\]…|]/

/**
 * What a reader of that page would do, in the order of the page.
 *
 *     ```sh            every command, line by line; `… &` stays
 *     ```console       lines with `$ `, and between them what they print
 *     ```js app.js     a file of that name
 *     <!-- run … -->          the same as `sh`, and not shown: what a page takes for granted
 *     <!-- stays -->          before a block: its last command stays
 *     <!-- not run: why -->   before a block: what the test has not got
 */
export function scriptOf(path: string): Part[] {
  const parts: Part[] = []
  const lines = read(path).split('\n')
  let marker: string | undefined
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] as string
    const fence = /^(```+)(\S*)(?: (\S+))?$/.exec(line)
    if (fence !== null) {
      const [, ticks, kind = '', file] = fence
      const end = lines.indexOf(ticks as string, at + 1)
      const text = lines.slice(at + 1, end)
      const part = partOf({ line: at + 1, kind, file, text, marker })
      if (part !== undefined) parts.push(part)
      at = end
    } else if (line === '<!-- run') {
      const end = lines.indexOf('-->', at + 1)
      parts.push({ do: 'run', line: at + 1, commands: inSh(lines.slice(at + 1, end)) })
      at = end
    } else if (/^ {4}\S/.test(line)) {
      if (isCommand(line.slice(4))) parts.push({ do: 'miss', line: at + 1, text: line.trim() })
    }
    const said = /^<!-- (not run: .*\S|stays) -->$/.exec(line)?.[1]
    if (said !== undefined) marker = said
    else if (line !== '') marker = undefined
  }
  return parts

  function partOf({ line, kind, file, text, marker }: Block): Part | undefined {
    if (marker?.startsWith('not run')) return { do: 'leave', line, reason: marker.slice('not run: '.length) }
    if (file !== undefined) return { do: 'write', line, file, text: `${text.join('\n')}\n` }
    const commands = kind === 'sh' ? inSh(text) : kind === 'console' ? inConsole(text) : undefined
    if (commands === undefined) {
      const missed = text.find(isCommand)
      return missed === undefined ? undefined : { do: 'miss', line, text: missed }
    }
    const last = commands.pop()
    if (last === undefined) throw new Error(`${path}:${line}: no command`)
    return { do: 'run', line, commands: [...commands, { ...last, stays: last.stays || marker === 'stays' }] }
  }
}

const isCommand = (line: string): boolean => COMMAND.test(line) && !FORM.test(line)

/** Lines, put together while the shell would ask for more. */
function inSh(lines: readonly string[]): Command[] {
  const commands: Command[] = []
  let text = ''
  for (const line of lines) {
    if (text === '' && /^\s*(#|$)/.test(line)) continue
    text += `${line}\n`
    if (spawnSync('bash', ['-n'], { input: text }).status !== 0 || /\\$/.test(line)) continue
    const background = /^([^#]*?) &\s*(?:#.*)?\n$/.exec(text)?.[1]
    commands.push({ text: background ?? text.trimEnd(), stays: background !== undefined })
    text = ''
  }
  if (text !== '') throw new Error(`no whole command: ${text}`)
  return commands
}

function inConsole(lines: readonly string[]): Command[] {
  const commands: { text: string; prints: string; stays: boolean }[] = []
  for (const line of lines) {
    const last = commands.at(-1)
    if (line.startsWith('$ ')) commands.push({ text: line.slice(2), prints: '', stays: false })
    else if (line.startsWith('> ') && last !== undefined) last.text += `\n${line.slice(2)}`
    else if (last !== undefined) last.prints += `${line}\n`
    else throw new Error(`output before the first command: ${line}`)
  }
  return commands
}

/**
 * What a page says that a command prints, as a pattern. Numbers and units of time stand for any; so do `…` for any text and a line of it for any
 * lines; columns may be of another width.
 */
export function patternOf(prints: string, stays: boolean): RegExp {
  const lines = prints.trimEnd().split('\n')
  const text = lines.map((line) => (line === '…' ? '(?:.*\\n)*?' : `${inLine(line)}[ ]*\\n`)).join('')
  return new RegExp(`^${text}${stays ? '' : '\\n*$'}`)
}

function inLine(line: string): string {
  return line
    .split(/(…|\d[\d.,]*(?: (?:ms|s|min|h|d)\b)?| +)/)
    .map((word, index) => {
      if (index % 2 === 0) return word.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
      if (word === '…') return '.*'
      if (word.startsWith(' ')) return ' +'
      return word.includes(' ') ? '\\d[\\d.,]* (?:ms|s|min|h|d)' : '\\d[\\d.,]*'
    })
    .join('')
}
