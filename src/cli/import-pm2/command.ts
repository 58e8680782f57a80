import { existsSync } from 'node:fs'
import { extname, resolve } from 'node:path'
import { type Imported, say } from './imported.js'

/** As PM2 has them (its interpreter.json); what is none of these and a file is Node's. */
const INTERPRETERS: Readonly<Record<string, string>> = {
  '.sh': 'bash',
  '.py': 'python3',
  '.rb': 'ruby',
  '.php': 'php',
  '.pl': 'perl',
  '.coffee': 'coffee',
  '.ls': 'lsc',
}

interface Given {
  readonly script: unknown
  readonly args: unknown
  readonly interpreter: unknown
  readonly node_args: unknown
  readonly source_map_support: unknown
}

/** What is run: script, arguments, interpreter and its own, and source maps make one command. */
export function takeCommand(app: Imported, given: Given): void {
  const script = String(given.script ?? '')
  const args = wordsOf(given.args)
  const own = wordsOf(given.node_args)
  const interpreter = interpreterOf(app, script, given.interpreter)
  const maps = given.source_map_support === true && isNode(interpreter) ? ['--enable-source-maps'] : []
  // As in PM2: what has a space is a line for a shell.
  const isLine = script.includes(' ') && !existsSync(resolve(app.directory, script))
  const command = isLine
    ? ['bash', '-c', script]
    : [...(interpreter === null ? [] : [interpreter, ...own, ...maps]), script, ...args]
  app.config['command'] = command
  const words = JSON.stringify(command)
  if (isLine)
    say(app, 'script', 'differently', `command: ${words}; better the words of the program itself, without a shell`)
  else if (interpreter !== null && !isNode(interpreter)) {
    delete app.config['compat']
    const text = 'It is no Node program: say by "listen" which sockets it is given (docs/any-program.md)'
    say(app, 'script', 'left-out', `command: ${words}. ${text}`)
  } else if (/\.tsx?$/.test(script))
    say(
      app,
      'script',
      'differently',
      `command: ${words}; PM2 takes bun for TypeScript. Node 22.18 runs it, or add --import tsx`,
    )
  else say(app, 'script', 'taken', `command: ${words}`)
  if (given.args !== undefined)
    say(app, 'args', isLine ? 'needless' : 'taken', isLine ? 'the script is a whole line' : 'in command')
  if (given.node_args !== undefined)
    if (interpreter === null || isLine)
      say(app, 'node_args', 'left-out', 'there is no interpreter that they could be for')
    else say(app, 'node_args', 'taken', 'in command')
  if (given.source_map_support === true)
    if (maps.length > 0 && !isLine)
      say(app, 'source_map_support', 'differently', "Node's own: --enable-source-maps in command")
    else say(app, 'source_map_support', 'left-out', 'it is no Node program')
  else if (given.source_map_support !== undefined) say(app, 'source_map_support', 'needless', 'off unless asked for')
}

/** null: the script is run as it is. */
function interpreterOf(app: Imported, script: string, given: unknown): string | null {
  if (typeof given === 'string' && given !== '') {
    if (given === 'none') {
      say(app, 'interpreter', 'taken', 'command begins with the script')
      return null
    }
    if (given.includes('@')) {
      say(app, 'interpreter', 'differently', `node in command; put ${given} first in the PATH of the unit`)
      return 'node'
    }
    say(app, 'interpreter', 'taken', 'in command')
    return given
  }
  if (given !== undefined) say(app, 'interpreter', 'left-out', 'it is no name')
  const known = INTERPRETERS[extname(script)]
  if (known !== undefined) return known
  const isFile = /\.[cm]?[jt]sx?$/.test(script) || script.includes('/') || existsSync(resolve(app.directory, script))
  return isFile ? 'node' : null
}

function isNode(interpreter: string | null): boolean {
  return interpreter !== null && /(^|\/)node$/.test(interpreter)
}

/** A list, or a line with quotes. */
export function wordsOf(given: unknown): string[] {
  if (given === undefined || given === null) return []
  if (Array.isArray(given)) return given.map(String)
  const words = String(given).matchAll(/(?:[^\s"']+|"[^"]*"|'[^']*')+/g)
  return [...words].map(([word]) => word.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single))
}
