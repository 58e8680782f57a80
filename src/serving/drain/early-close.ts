/** The calls by which a program ends connections of its server. */
const CALLS = ['close', 'closeIdleConnections', 'closeAllConnections'] as const

type Call = (this: object, ...args: unknown[]) => unknown
type Callable = Partial<Record<(typeof CALLS)[number], Call>>

/**
 * While a server drains: sees the program end it before its time, so that what this cuts can be told. `ended` gets the call and does it.
 * The returned function takes it out again.
 */
export function watchCloses(server: object, ended: (call: string, deed: () => void) => void): () => void {
  const target = server as Callable
  let isInside = false
  const restores = CALLS.flatMap((name) => {
    const original = target[name]
    if (original === undefined) return []
    const own = Object.getOwnPropertyDescriptor(server, name)
    const watched: Call = function (...args) {
      // close() calls closeIdleConnections() itself.
      if (isInside) return original.apply(this, args)
      let result: unknown
      isInside = true
      try {
        ended(`server.${name}()`, () => {
          result = original.apply(this, args)
        })
      } finally {
        isInside = false
      }
      return result
    }
    target[name] = watched
    return () => {
      if (target[name] !== watched) return
      if (own === undefined) delete target[name]
      else Object.defineProperty(server, name, own)
    }
  })
  return () => {
    for (const restore of restores) restore()
  }
}
