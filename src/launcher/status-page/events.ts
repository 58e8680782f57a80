import type { Fields, LogLevel } from '../../log.js'

/** One line of the launcher's log. */
export interface PageEvent {
  readonly at: number
  readonly level: LogLevel
  readonly event: string
  readonly fields: Fields
}

const MOST_EVENTS = 200

/** The latest lines of the log, for who looks later. What a program has written on stderr is left out: it is not ours to show to others. */
export class RecentEvents {
  readonly #events: PageEvent[] = []

  get events(): readonly PageEvent[] {
    return this.#events
  }

  add(level: LogLevel, event: string, { stderr: _, ...fields }: Fields): PageEvent {
    const one = { at: Date.now(), level, event, fields }
    this.#events.push(one)
    if (this.#events.length > MOST_EVENTS) this.#events.shift()
    return one
  }
}
