import type { ScaleVerdict } from '../control-protocol.js'
import { within } from './connect.js'
import { type CommandLine, usage } from './parse.js'

const EXIT_CODES: Readonly<Record<Exclude<ScaleVerdict['result'], 'refused'>, number>> = {
  done: 0,
  aborted: 4,
  stopped: 1,
}

export async function scale(line: CommandLine): Promise<number> {
  const [word] = line.command as [string]
  const isRelative = /^[+-]/.test(word)
  const verdict = await within(line, 'scale', (client) =>
    client.scale(isRelative ? { by: Number(word) } : { to: Number(word) }),
  )
  const isJson = line.values['json'] === true
  if (isJson) process.stdout.write(`${JSON.stringify(verdict)}\n`)
  if (verdict.result === 'refused') throw usage(verdict.reason ?? `scale ${word} cannot be done`)
  const code = EXIT_CODES[verdict.result]
  if (code !== 0) process.stderr.write(describe(verdict))
  else if (!isJson) process.stdout.write(describe(verdict))
  return code
}

function describe({ result, from, to, reason, draining, parked }: ScaleVerdict): string {
  if (result === 'stopped') return `scale stopped: ${reason}\n`
  if (result === 'aborted') return `scale aborted: ${reason}\n${to} workers serve\n`
  const leaving = draining === 0 ? '' : `; ${draining} drain`
  const sockets = parked.length === 0 ? '' : `; sockets of slot ${parked.join(', ')} are parked`
  return `scaled from ${from} to ${to} workers${leaving}${sockets}\n`
}
