/** What PM2's `wait_ready` waits for, and so what programs send that are made for it. */
const READY = 'ready'

type Send = (message: unknown, ...rest: unknown[]) => boolean
type Channelled = { send?: Send; connected?: boolean; disconnect?: () => void }

/** Hears the program's `process.send('ready')`, also one that comes before its first `listen()`. */
export interface ReadyMessage {
  /** Calls `heard` once, at once if it has been said. */
  whenSaid(heard: () => void): void
}

/**
 * Puts a `process.send` into a process that has no parent to talk to, as `npm start` leaves it, and listens in where there is one: programs
 * ask `if (process.send)` before they say that they are ready. What is said beside that goes to the parent, or nowhere.
 */
export function provideSend(): ReadyMessage {
  const target = process as unknown as Channelled
  const parent = target.send
  let isSaid = false
  const waiting: (() => void)[] = []
  const hear = (message: unknown): void => {
    if (message !== READY || isSaid) return
    isSaid = true
    for (const heard of waiting.splice(0)) heard()
  }

  target.send = (message, ...rest) => {
    hear(message)
    if (parent !== undefined) return parent.call(process, message, ...rest)
    const done = rest.find((one): one is (error: null) => void => typeof one === 'function')
    if (done !== undefined) process.nextTick(done, null)
    return true
  }
  if (parent === undefined) {
    target.connected = true
    target.disconnect = () => {
      target.connected = false
      process.nextTick(() => process.emit('disconnect'))
    }
  }
  return {
    whenSaid(heard) {
      if (isSaid) heard()
      else waiting.push(heard)
    },
  }
}
