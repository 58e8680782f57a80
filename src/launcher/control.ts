import type { CanaryPlan, ReloadWait, Status } from '../control-protocol.js'
import type { EventStream } from './event-stream.js'
import { type Check, fieldsOf, isFd, isWhole, listOf, oneOf, orNull } from './shape.js'

/** What the control socket can ask of the launcher. Callers are named by number, so that the brain can hold them as plain data. */
export interface Orders {
  status(watchMs?: number): Promise<Status>
  /** Resolves when it is ordered; what could not be done has been answered by then. */
  reload(caller: number | null, wait: ReloadWait, canary?: CanaryPlan): Promise<void>
  promote(caller: number, wait: ReloadWait): void
  abort(caller: number): void
  /** `isRelative`: so many more, or fewer. */
  scale(caller: number, workers: number, isRelative: boolean): void
  upgrade(caller: number): void
  stop(caller: number): void
  readonly events: EventStream
}

export interface SavedControl {
  readonly fd: number
  readonly nextCaller: number
  /** 'answer': to what was ordered as `caller`. 'request': has said nothing yet. */
  readonly clients: readonly {
    readonly fd: number
    readonly waitsFor: 'answer' | 'status' | 'request'
    readonly caller: number | null
  }[]
}
export const SAVED_CONTROL: Check = fieldsOf({
  fd: isFd,
  nextCaller: isWhole,
  clients: listOf(fieldsOf({ fd: isFd, waitsFor: oneOf('answer', 'status', 'request'), caller: orNull(isWhole) })),
})
