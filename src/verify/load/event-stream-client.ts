import { type Asked, type ClientContext, type Clients, Unfit } from './clients.js'
import { monotonicMs } from './clock.js'
import { EventStream } from './event-stream.js'
import { AFTER_FAILED_CONNECT_MS } from './http1-client.js'
import { outcomeOf } from './outcome.js'
import { getEvents, type Target } from './request.js'

/** How long the first two events are waited for: do their ids count? */
const LOOK_FOR_EVENTS_MS = 2000

/** Clients of an event stream that open it again when it has ended, with the id of the last event that they got, as EventSource does. */
export class EventStreamClients implements Clients {
  readonly asks: string
  readonly #target: Target
  readonly #path: string
  /** The ids are numbers that grow by one: an event that is missing can be told. */
  #counts = false

  constructor(target: Target, path: string) {
    this.#target = target
    this.#path = path
    this.asks = getEvents(target, path, null).name
  }

  async ask(context: ClientContext): Promise<Asked> {
    const ids: (string | null)[] = []
    const stream = this.#open(context, null, (id) => {
      if (ids.push(id) === 2) stream.close()
    })
    const timer = setTimeout(() => stream.close(), LOOK_FOR_EVENTS_MS)
    const { outcome } = await stream.over
    clearTimeout(timer)
    await stream.gone
    if (outcome.bucket !== 'ok') throw new Unfit(this.asks, `${outcome.bucket} (${outcome.reason})`)
    const [first, second] = ids as [string, string]
    this.#counts = ids.length >= 2 && isNext(first, second)
    return { bytes: 0, ends: null }
  }

  async run(context: ClientContext, kind: string, onRequest: () => void): Promise<void> {
    const { recorder, end } = context
    const streams: Promise<void>[] = []
    let lastId: string | null = null
    for (let isFirst = true; isFirst || !end.over; isFirst = false) {
      let last = lastId
      const onEvent = (id: string | null): void => {
        if (this.#counts && last !== null && !isNext(last, id)) {
          const reason = `after event ${last} came ${id}`
          recorder.outcome(kind, this.asks, outcomeOf('lost-event', reason, monotonicMs(), { status: 200 }))
        }
        last = id
      }
      const isAgain = !isFirst
      const stream = this.#open(context, lastId, onEvent, () => {
        recorder.connected(kind, isAgain)
        onRequest()
      })
      streams.push(stream.gone)
      const forget = end.onBegin(() => stream.close())
      const over = await stream.over
      forget()
      recorder.outcome(kind, this.asks, over.outcome)
      onRequest()
      lastId = over.lastId
      if (over.outcome.bucket !== 'ok') await end.pause(AFTER_FAILED_CONNECT_MS)
      else if (over.ended) recorder.endedPolitely(kind, this.asks)
    }
    await Promise.all(streams)
  }

  #open(
    { connectTimeoutMs, responseTimeoutMs }: ClientContext,
    lastId: string | null,
    onEvent: (id: string | null) => void,
    onOpen: () => void = () => undefined,
  ): EventStream {
    const times = { connectTimeoutMs, responseTimeoutMs }
    return new EventStream({ target: this.#target, path: this.#path, lastId, onEvent, onOpen, ...times })
  }
}

function isNext(before: string | null, after: string | null): boolean {
  if (before === null || after === null || !/^\d{1,15}$/.test(before) || !/^\d{1,15}$/.test(after)) return false
  return Number(after) === Number(before) + 1
}
