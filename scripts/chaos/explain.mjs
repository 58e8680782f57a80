/**
 * Which losses are explained by the end of a worker: those of connections that it had in hand, as far as its own ledger says so, and one that it
 * had accepted and not yet noted. Nothing else is: not that there was chaos at the time.
 */

/** What a connection looks like from outside when whoever had it is gone. */
const TORN = ['reset-after-request', 'reset-connecting', 'closed-before-response', 'truncated', 'closed']
/** What a dying worker had taken and not noted. */
const UNNOTED = 1
/** A connection that has moved is closed by the old worker soon after the new one has taken it, and that is in its drain. */
const MOVES_MS = 250
const DRAINS_MS = 5_000
/** The end of a worker that ended by itself is known from the log, which is read a little later. */
const NOTICED_MS = 100

/**
 * `ends`: of workers, by their ledger, that may lose something; `drained`: by their pid, when others said that they had. Gives a function from a loss to its
 * reason, or null.
 */
export function explainer({ ledgers, ends, drained, known }) {
  const holds = new Map()
  for (const ledger of ledgers) for (const hold of ledger.held) add(holds, hold.port, { ...hold, ledger })
  const owned = new Map()
  for (const { localPort, opened, at } of known) add(owned, localPort, { opened, at })
  const unnoted = new Map([...ends.keys()].map((ledger) => [ledger, UNNOTED]))
  const strangers = strangersOf(holds, owned, ends)

  return (loss) => {
    if (!TORN.includes(loss.bucket)) return null
    if (loss.localPort === null) return takeStranger(strangers, loss) ? 'in hand' : null
    const own = (holds.get(loss.localPort) ?? []).filter(({ from }) => from >= loss.opened && from <= loss.at)
    if (own.length === 0) return takeUnnoted(unnoted, ends, loss) ? 'unnoted' : null
    const last = own.reduce((one, other) => (other.from > one.from ? other : one))
    if (last.to === null && ends.has(last.ledger)) return 'in hand'
    return isInTransit(last, ends, drained, loss) ? 'in transit' : null
  }
}

/** An old worker had given it away, and the new one, which died then, had not noted it yet. */
function isInTransit({ to, ledger }, ends, drained, loss) {
  const left = to ?? ledger.endedAt
  if (left === null || left > loss.at + NOTICED_MS) return false
  const isOnItsWay = (drained.get(ledger.pid) ?? []).some((at) => at >= left - MOVES_MS && at <= left + DRAINS_MS)
  return isOnItsWay && [...ends].some(([other, at]) => other !== ledger && Math.abs(at - left) <= MOVES_MS)
}

function takeUnnoted(unnoted, ends, loss) {
  for (const [ledger, left] of unnoted) {
    const at = ends.get(ledger)
    if (left === 0 || at < loss.opened || at > loss.at + NOTICED_MS) continue
    unnoted.set(ledger, left - 1)
    return true
  }
  return false
}

/** In the hands of a dead worker, and of no client that knows its own port: reset before that had looked. */
function strangersOf(holds, owned, ends) {
  return [...holds.values()].flat().filter(({ port, from, to, ledger }) => {
    const isKnown = (owned.get(port) ?? []).some(({ opened, at }) => opened <= from && from <= at)
    return to === null && ends.has(ledger) && !isKnown
  })
}

function takeStranger(strangers, loss) {
  const at = strangers.findIndex(({ from }) => from >= loss.opened && from <= loss.at)
  if (at >= 0) strangers.splice(at, 1)
  return at >= 0
}

function add(map, key, value) {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}
