import { type MetricsRegistry, sharedRegistries } from '../meeting.js'

/**
 * With `--metrics` the launcher shows what is in this registry, summed over all workers (docs/metrics.md). Without this call, and whenever
 * there is none, it is the one that prom-client has by default. Without a launcher it does nothing.
 */
export function shareMetrics(registry: MetricsRegistry): void {
  sharedRegistries().add(registry)
}
