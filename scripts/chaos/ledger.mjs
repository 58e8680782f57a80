/** What the workers have noted of themselves (program.cjs). */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Each worker that came so far, with the connections that it had; `to`: when one went, null: it was there to the end. */
export function readLedgers(directory) {
  return readdirSync(directory).map((name) =>
    parseLedger(Number.parseInt(name, 10), readFileSync(join(directory, name), 'latin1')),
  )
}

export function parseLedger(pid, text) {
  const ledger = { pid, kind: null, number: null, since: 0, held: [] }
  const open = new Map()
  // What follows the last end of a line was being written when it died.
  for (const line of text.split('\n').slice(0, -1)) {
    const [first, ...rest] = [line[0], ...line.slice(1).trim().split(' ')]
    if (first === '=') {
      ledger.kind = rest[0]
      ledger.number = Number(rest[1])
      ledger.since = Number(rest[2])
    } else if (first === '+') {
      const one = { port: Number(rest[0]), from: Number(rest[1]), to: null }
      ledger.held.push(one)
      open.set(one.port, one)
    } else if (first === '-') {
      const one = open.get(Number(rest[0]))
      if (one !== undefined) one.to = Number(rest[1])
      open.delete(Number(rest[0]))
    }
  }
  return ledger
}
