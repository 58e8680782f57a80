import type { LauncherVersion, UpgradeVerdict } from '../control-protocol.js'
import { within } from './connect.js'
import type { CommandLine } from './parse.js'
import { printable } from './words.js'

const EXIT_CODES: Readonly<Record<UpgradeVerdict['result'], number>> = { done: 0, refused: 1, stopped: 1 }

export async function upgrade(line: CommandLine): Promise<number> {
  const verdict = await within(line, 'upgrade', (client) => client.upgrade())
  const code = EXIT_CODES[verdict.result]
  const isJson = line.values['json'] === true
  if (isJson) process.stdout.write(`${JSON.stringify(verdict)}\n`)
  if (code !== 0) process.stderr.write(describe(verdict))
  else if (!isJson) process.stdout.write(describe(verdict))
  return code
}

function describe({ result, reason, stderr, from, to, gapMs }: UpgradeVerdict): string {
  if (result === 'stopped') return `upgrade stopped: ${reason}\n`
  if (result === 'refused') {
    const lines = stderr.map((text) => `    | ${printable(text)}\n`).join('')
    return `upgrade refused: ${printable(reason ?? '')}\n${lines}the launcher goes on as it was${from === null ? '' : `: ${inWords(from)}`}\n`
  }
  const what = from === null || to === null ? '' : ` from ${inWords(from)} to ${inWords(to)}`
  return `upgraded${what}; nobody led for ${Math.round(gapMs ?? 0)} ms\n`
}

function inWords({ version, node }: LauncherVersion): string {
  return `${version} (Node ${node.replace(/^v/, '')})`
}
