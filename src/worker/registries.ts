import { type MetricsRegistry, sharedRegistries } from '../meeting.js'

/** Where prom-client keeps the registry that metrics are in by default; one for each copy of it that the program has loaded. */
const PROM_CLIENT = /[\\/]prom-client[\\/]index\.js$/

/**
 * What the program's own registries say: those that it shares by the library, else those that prom-client has by default. Rejects with what
 * the program's code throws, or when it takes too long.
 */
export async function readRegistries(withinMs: number): Promise<unknown[]> {
  const shared = sharedRegistries()
  const registries = shared.size > 0 ? [...shared] : defaultRegistries()
  if (registries.length === 0) return []
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`its metrics were not collected within ${withinMs} ms`)), withinMs)
  })
  const collected = Promise.all(registries.map(async (registry) => registry.getMetricsAsJSON()))
  try {
    return (await Promise.race([collected, late])).flat()
  } finally {
    clearTimeout(timer)
  }
}

function defaultRegistries(): MetricsRegistry[] {
  const files = Object.keys(require.cache).filter((file) => PROM_CLIENT.test(file))
  return files.flatMap((file) => {
    const { register } = (require.cache[file]?.exports ?? {}) as { register?: Partial<MetricsRegistry> }
    return typeof register?.getMetricsAsJSON === 'function' ? [register as MetricsRegistry] : []
  })
}
