/**
 * What must be true of the history of a chaos run, as pure functions: the run gives what clients, workers, launchers and whoever gave orders have
 * noted, and gets what is wrong. All times are those of one clock (CLOCK_MONOTONIC).
 */
import { explainer } from './explain.mjs'

/** Versions that no client may ever meet. */
export const NEVER_SEEN = ['exits', 'throws', 'silent', 'elsewhere', 'unwell']
/** Those that end by themselves while they serve. */
const ENDS_ITSELF = ['brief']
const ERROR = 50
const SHOWN = 5

/**
 * History: `answers` and `lost` and `closed` as the load has them (load.mjs), `ledgers` (ledger.mjs), `deploys` ({at, kind, number}), `orders` ({order, at,
 * end, number, result, error}; `number`: of what was deployed), `kills` of workers ({pid, at}), `deaths` of launchers ({from, to}), `log` (log.mjs).
 * `replay`: the automaton of a launcher's log.
 */
export function check(history, replay) {
  const ends = endsOf(history)
  const found = torn(history, ends)
  return {
    reasons: [
      ...found.reasons,
      ...neverSeen(history),
      ...goesBack(history),
      ...goodForBad(history),
      ...unanswered(history),
      ...endedByItself(history),
      ...wrongLogs(history, replay),
    ],
    explained: found.explained,
    late: backward(history).filter(({ isLate }) => isLate).length,
  }
}

/** From the ledger of each worker that may take something with it to the moment of its end. */
export function endsOf({ ledgers, kills, log }) {
  const cut = new Set(log.filter(({ msg }) => msg === 'generation.cut').map(({ generation }) => generation))
  const exits = log.filter(({ msg }) => msg === 'worker.exited')
  const ends = new Map()
  for (const ledger of ledgers) {
    const isIt = ({ pid, at }) => pid === ledger.pid && at >= ledger.since
    const kill = kills.find(isIt)
    const exit = exits.find(({ workerPid: pid, at }) => isIt({ pid, at }))
    ledger.endedAt = exit?.at ?? null
    if (kill !== undefined && !(exit?.at < kill.at)) ends.set(ledger, kill.at)
    else if (ENDS_ITSELF.includes(ledger.kind)) ends.set(ledger, exit?.at ?? lastNote(ledger))
    else if (cut.has(exit?.generation)) ends.set(ledger, exit.at)
  }
  return ends
}

const lastNote = ({ since, held }) => Math.max(since, ...held.map(({ from, to }) => to ?? from))

/** Lost is only what a killed worker had in hand; and nobody else closes an idle connection. */
export function torn({ answers, lost, closed, ledgers, log }, ends) {
  const known = [...answers.map(([, opened, , at, localPort]) => ({ localPort, opened, at })), ...lost, ...closed]
  const drained = new Map()
  for (const { msg, workerPid: pid, at } of log)
    if (msg === 'worker.drained') drained.set(pid, [...(drained.get(pid) ?? []), at])
  const explain = explainer({ ledgers, ends, drained, known: known.filter(({ localPort }) => localPort !== null) })
  const explained = { lost: 0, closed: 0, 'in hand': 0, unnoted: 0, 'in transit': 0 }
  const reasons = Object.entries({ lost, closed }).flatMap(([name, list]) => {
    const others = list.filter((one) => {
      const reason = explain(one)
      if (reason === null) return true
      explained[reason]++
      explained[name]++
      return false
    })
    return say(`${name}, and not with a worker`, others)
  })
  return { reasons, explained }
}

/** What cannot serve is met by nobody. */
export function neverSeen({ answers }) {
  return say(
    'answers of a version that cannot serve',
    answers.filter(([, , , , , , kind]) => NEVER_SEEN.includes(kind)),
  )
}

/** Once a reload is done, whoever connects is answered by what was deployed when it was ordered, or by something newer. */
export function goesBack(history) {
  return say(
    'answers of an older version after a reload was done',
    backward(history).filter(({ isLate }) => !isLate),
  )
}

/** `isLate`: of a worker that stood still when it was to pause. It accepts until it hears of it (docs/reload.md). */
function backward({ answers, orders, log }) {
  const done = orders
    .filter(({ order, result, wait }) => order === 'reload' && result === 'done' && wait !== 'admitted')
    .sort((one, other) => one.end - other.end)
  return answers.flatMap((answer) => {
    const [, opened, , , , pid, , number] = answer
    const first = done.find((one) => one.end < opened && one.number > number)
    return first === undefined ? [] : [{ answer, reload: first, isLate: stoodStill(log, pid, first.end) }]
  })
}

/** It has not answered an order in time, or was known to be stuck when the reload was done. */
function stoodStill(log, pid, at) {
  const isOf = ({ workerPid, workerPids }) => workerPid === pid || String(workerPids).split(/\D+/).includes(String(pid))
  const own = log.filter(isOf)
  if (own.some(({ msg }) => ['worker.silent', 'worker.late', 'adoption.missing'].includes(msg))) return true
  const turns = own.filter((event) => event.at <= at && ['worker.stuck', 'worker.back'].includes(event.msg))
  return turns.at(-1)?.msg === 'worker.stuck'
}

/** No reload of what cannot serve is called done, if nothing else lay there from its order to its answer. */
export function goodForBad({ orders, deploys }) {
  return say(
    'reloads done into a version that cannot serve',
    orders.filter(({ order, result, at, end }) => {
      if (order !== 'reload' || result !== 'done') return false
      const before = deploys.findLast((deploy) => deploy.at <= at)
      const others = deploys.filter((deploy) => deploy.at > at && deploy.at <= end)
      return NEVER_SEEN.includes(before?.kind) && others.every(({ kind }) => NEVER_SEEN.includes(kind))
    }),
  )
}

/** Each order is answered, unless its launcher died, or another one took its place, meanwhile. */
export function unanswered({ orders, deaths, log }) {
  const cuts = [...deaths, ...upgradesOf(log)]
  return say(
    'orders without an answer',
    orders.filter(({ error, isLate, at, end }) => {
      if (error === undefined) return false
      return isLate || !cuts.some(({ from, to }) => from <= end && to >= at)
    }),
  )
}

/** From the trial of the new launcher to its first line, or to what came in place of it. */
function upgradesOf(log) {
  const ends = ['upgrade.done', 'upgrade.refused', 'launcher.started']
  return log.flatMap(({ msg, at }, index) => {
    if (msg !== 'upgrade.started') return []
    const end = log.slice(index).find((event) => ends.includes(event.msg))
    return [{ from: at, to: end?.at ?? Number.POSITIVE_INFINITY }]
  })
}

/** A good worker ends when it is told to, and not before. (What the launcher itself kills, since it is too slow, must have had nothing in hand.) */
export function endedByItself({ log, ledgers, kills }) {
  return say(
    'good workers that ended without an order',
    log.filter(({ msg, level, workerPid: pid, at, signal }) => {
      if (msg !== 'worker.exited' || level < ERROR || signal === 'SIGKILL') return false
      const ledger = ledgers.findLast((one) => one.pid === pid && one.since <= at)
      return ledger?.kind === 'good' && !kills.some((kill) => kill.pid === pid && kill.at >= ledger.since)
    }),
  )
}

/** Each launcher's log, up to its end, is one that a launcher may write. */
export function wrongLogs({ log }, replay) {
  return launchersOf(log).flatMap((events) => {
    if (events.some(({ msg }) => msg === 'torn')) return say('torn lines in the log', [events.at(-1)])
    if (events.some(({ msg }) => msg === 'log.dropped')) return []
    const wrong = replay(events)
    if (wrong === null) return []
    const { pid, msg, time } = events[wrong.at]
    return [`the log of launcher ${pid}: ${wrong.why} (${msg} at ${time})`]
  })
}

/** An upgrade goes on in the same process, so in the same log. */
export function launchersOf(log) {
  const groups = []
  const current = new Map()
  for (const event of log) {
    const before = current.get(event.pid)
    const isAnother =
      event.msg === 'adoption.started' ||
      (event.msg === 'launcher.started' && before?.some(({ msg }) => msg === 'launcher.started'))
    if (before === undefined || isAnother) {
      const group = [event]
      current.set(event.pid, group)
      groups.push(group)
    } else before.push(event)
  }
  return groups
}

function say(what, list) {
  return list.length === 0 ? [] : [`${list.length} ${what}: ${JSON.stringify(list.slice(0, SHOWN))}`]
}
