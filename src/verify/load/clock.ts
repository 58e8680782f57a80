/**
 * Milliseconds of CLOCK_MONOTONIC. Unlike `performance.now()` it has the same origin in every process of the machine, so the load
 * process can say when a request failed and the parent can say what the reload did just before.
 */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
