import { examine } from '../doctor/doctor.js'
import type { Finding } from '../doctor/finding.js'
import { logicalDirectory } from '../launcher/command.js'
import type { LauncherOptions } from '../options.js'
import { usage } from './parse.js'
import type { Settled } from './settle.js'
import { settledOptions } from './settled-options.js'

/** Says what a start with the same words would find here. */
export async function doctor(line: Settled): Promise<number> {
  const directory = logicalDirectory()
  const options = optionsOf(line, directory)
  if (line.values['unit'] === true) {
    const { unitText } = await import('./unit.js')
    if (options.command.length === 0)
      throw usage('no command for the unit', 'For example: reuseport-run doctor --unit -n 2 -- node app.js')
    process.stdout.write(unitText(line, options, directory))
    return 0
  }
  const findings = await examine(options, directory)
  const isWell = findings.every(({ level }) => level !== 'fail')
  if (line.values['json'] === true) process.stdout.write(`${JSON.stringify({ schema: 1, ok: isWell, findings })}\n`)
  else process.stdout.write(describe(findings))
  return isWell ? 0 : 1
}

/** Without a command everything else is looked at. */
function optionsOf(line: Settled, directory: string): LauncherOptions {
  if (line.command.length > 0) return settledOptions(line, directory)
  return { ...settledOptions({ ...line, command: ['node'] }, directory), command: [] }
}

function describe(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length)) + 2
  const lines = findings.flatMap(({ check, level, text, next }) => [
    `${level.padEnd(6)}${check.padEnd(width)}${text}`,
    ...(next === null ? [] : [`${' '.repeat(6 + width)}→ ${next}`]),
  ])
  const count = (level: Finding['level']): number => findings.filter((finding) => finding.level === level).length
  const [fails, warns] = [count('fail'), count('warn')]
  const verdict =
    fails > 0
      ? `${fails} of ${findings.length} would keep it from running`
      : warns > 0
        ? `it runs here, with ${warns} to look at`
        : 'it runs here'
  return `${lines.join('\n')}\n\n${verdict}\n`
}
