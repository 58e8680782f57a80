import type { Status } from '../control-protocol.js'
import { connect } from './connect.js'
import type { CommandLine } from './parse.js'

export async function status(line: CommandLine): Promise<number> {
  const answer = await (await connect(line)).status()
  process.stdout.write(line.values['json'] === true ? `${JSON.stringify(answer)}\n` : describeStatus(answer))
  return 0
}

function describeStatus(status: Status): string {
  const lines = [
    `${status.name}: ${status.state}, launcher pid ${status.pid}, generation ${status.working ?? '-'}, term ${status.term}`,
  ]
  for (const { slot, worker, adoptedBy } of status.slots) {
    const who =
      worker === null
        ? 'no worker'
        : `pid ${worker.pid}, generation ${worker.generation}, ${worker.state} since ${worker.startedAt}${worker.text === null ? '' : `, says ${JSON.stringify(worker.text)}`}`
    lines.push(`  slot ${slot}: ${who}${adoptedBy === null ? '' : `; its sockets are adopted by slot ${adoptedBy}`}`)
  }
  const leaving = status.generations.filter(({ number, workers }) => number !== status.working && workers.length > 0)
  for (const { number, state, workers } of leaving)
    lines.push(`  generation ${number}: ${state}, ${workers.length} workers`)
  for (const { address, sockets } of status.listeners) {
    lines.push(`  ${address}`)
    for (const { slot, inode, queue, holders } of sockets)
      lines.push(
        `    slot ${slot}: inode ${inode}, ${queue === null ? '' : `queue ${queue}, `}held by ${holders.join(' ')}`,
      )
  }
  for (const { code, text } of status.warnings) lines.push(`  warning ${code}: ${text}`)
  return `${lines.join('\n')}\n`
}
