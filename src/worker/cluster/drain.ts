import type { Worker } from 'node:cluster'
import { addHeld, addOutcomes } from '../../outcomes.js'
import type { DrainOutcome, Fates, Held } from '../../protocol.js'
import type { DrainEvents, Draining, DrainPlan } from '../../serving/drain/drain.js'
import { ask, handedOut, listen, PATIENCE_MS } from './children.js'

/** Longer than a child's own drain takes after its deadline, shorter than the launcher waits. */
const LATE_MS = 1_500

/** The drain of a primary of node:cluster: its own, and that of its children, as one. */
export class ClusterDrain implements Draining {
  readonly #own: Draining
  readonly #spreadMs: number | null
  readonly #events: DrainEvents
  /** What each child has said: what it holds, and at the end what became of it. */
  readonly #held = new Map<Worker, Held>()
  readonly #outcomes = new Map<Worker, DrainOutcome>()
  #children: readonly Worker[] = []
  #ownHeld: Held = {}
  #ownOutcome: DrainOutcome | undefined
  #outcome: DrainOutcome | undefined
  #deadline = 0
  #late: NodeJS.Timeout | undefined
  #stops: (() => void)[] = []
  #isOver = false

  /** `own`: makes the drain of the servers in this process. */
  constructor(
    children: readonly Worker[],
    { spreadMs }: Pick<DrainPlan, 'spreadMs'>,
    events: DrainEvents,
    own: (events: DrainEvents) => Draining,
  ) {
    this.#children = children
    this.#spreadMs = spreadMs
    this.#events = events
    this.#own = own({
      ...events,
      done: (outcome) => {
        this.#ownOutcome = outcome
        this.#settle()
      },
      holds: (held) => {
        this.#ownHeld = held
        this.#tell()
      },
    })
  }

  get outcome(): DrainOutcome | undefined {
    return this.#outcome
  }

  begin(deadlineMs: number): void {
    this.setDeadline(deadlineMs)
    for (const child of this.#children) this.#watch(child)
    void this.#drainAll()
  }

  look(): void {
    this.#own.look()
  }

  setDeadline(deadlineMs: number): void {
    this.#deadline = performance.now() + deadlineMs
    clearTimeout(this.#late)
    this.#late = setTimeout(() => this.#finish(), deadlineMs + LATE_MS).unref()
    if (this.#stops.length === 0) return
    this.#own.setDeadline(deadlineMs)
    for (const child of this.#children) void ask(child, { ask: 'drain', deadlineMs, spreadMs: this.#spreadMs })
  }

  cancel(): void {
    this.#isOver = true
    clearTimeout(this.#late)
    for (const stop of this.#stops.splice(0)) stop()
    this.#own.cancel()
    for (const child of this.#children) if (child.isConnected()) void ask(child, { ask: 'resume' })
  }

  /** Nothing is accepted any more; what has been is with the children first. */
  async #drainAll(): Promise<void> {
    await handedOut(this.#children)
    if (this.#isOver) return
    const deadlineMs = Math.max(0, this.#deadline - performance.now())
    this.#own.begin(deadlineMs)
    for (const child of this.#children)
      void ask(child, { ask: 'drain', deadlineMs, spreadMs: this.#spreadMs }, PATIENCE_MS).then((answer) => {
        // One without our code in it: nobody knows what it has.
        if (answer === undefined) this.#done(child, NOTHING)
      })
  }

  #watch(child: Worker): void {
    const gone = (): void => this.#done(child, lostWith(this.#held.get(child) ?? {}))
    child.once('disconnect', gone)
    const stop = listen(child, (tell) => {
      if (tell.tell === 'drained') this.#done(child, tell.outcome)
      else if (tell.tell === 'closed-early') this.#events.closedEarly(tell.call, tell.cut, tell.open)
      else {
        this.#held.set(child, tell.held)
        this.#tell()
      }
    })
    this.#stops.push(stop, () => child.off('disconnect', gone))
  }

  #done(child: Worker, outcome: DrainOutcome): void {
    if (this.#outcomes.has(child)) return
    this.#outcomes.set(child, outcome)
    this.#settle()
  }

  #settle(): void {
    if (this.#ownOutcome !== undefined && this.#children.every((child) => this.#outcomes.has(child))) this.#finish()
  }

  #finish(): void {
    if (this.#outcome !== undefined || this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#late)
    for (const stop of this.#stops.splice(0)) stop()
    const ofChildren = this.#children.map((child) => this.#outcomes.get(child) ?? lostWith(this.#held.get(child) ?? {}))
    // Of the process that the launcher knows nothing has ended early.
    this.#outcome = {
      ...addOutcomes([this.#ownOutcome ?? NOTHING, ...ofChildren]),
      early: this.#ownOutcome?.early === true,
    }
    this.#events.done(this.#outcome, false)
  }

  #tell(): void {
    const held = this.#children.map((child) => (this.#outcomes.has(child) ? {} : (this.#held.get(child) ?? {})))
    this.#events.holds(addHeld([this.#ownHeld, ...held]))
  }
}

const NOTHING: DrainOutcome = { ended: 0, closed: 0, cut: 0 }

/** A child that ends without a word takes what it had. */
function lostWith(held: Held): DrainOutcome {
  const kinds = Object.fromEntries(
    Object.entries(held).map(([kind, { open }]): [string, Fates] => [
      kind,
      { ended: 0, closed: 0, cut: open, moved: 0 },
    ]),
  )
  return { ended: 0, closed: 0, cut: Object.values(kinds).reduce((sum, { cut }) => sum + cut, 0), kinds }
}
