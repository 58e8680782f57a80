/**
 * Milliseconds on the machine's monotonic clock: those of a launcher go on in the image that takes its place, as `performance.now()`, which
 * begins with the process image, does not.
 */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
