import type { Effect, Event } from './brain/events.js'
import type { State } from './brain/state.js'
import { step } from './brain/step.js'
import { now } from './clock.js'

/** Omit that keeps a union a union. */
type Unstamped<T> = T extends unknown ? Omit<T, 'at'> : never
export type NewEvent = Unstamped<Event>

/** What the brain knows, and the one queue by which it hears of anything. The only caller of `step`. */
export class EventQueue {
  readonly #perform: (effect: Effect) => void
  readonly #decided: (state: State) => void
  readonly #stepped: (event: Event, before: State) => void
  #state: State
  #waiting: Event[] = []
  /** Outcomes of effects: told to the brain before anything newer, for what is done is known. */
  #outcomes: Event[] = []
  #isStepping = false

  /** `decided`: before the effects of each event. `stepped`: after them. */
  constructor(
    state: State,
    on: {
      decided: (state: State) => void
      perform: (effect: Effect) => void
      stepped: (event: Event, before: State) => void
    },
  ) {
    this.#state = state
    this.#decided = on.decided
    this.#perform = on.perform
    this.#stepped = on.stepped
  }

  get state(): State {
    return this.#state
  }

  /** Events that arrive while effects are done wait their turn. */
  post(event: NewEvent): void {
    const stamped = { ...event, at: now() } as Event
    if (this.#isStepping) this.#waiting.push(stamped)
    else this.#run(stamped)
  }

  /** Of an effect that is being done. */
  outcome(event: NewEvent): void {
    this.#outcomes.push({ ...event, at: now() } as Event)
  }

  #run(first: Event): void {
    this.#isStepping = true
    for (
      let event: Event | undefined = first;
      event !== undefined;
      event = this.#outcomes.shift() ?? this.#waiting.shift()
    ) {
      const before = this.#state
      const { state, effects } = step(before, event)
      this.#state = state
      this.#decided(state)
      for (const effect of effects) this.#perform(effect)
      this.#stepped(event, before)
    }
    this.#isStepping = false
  }
}
