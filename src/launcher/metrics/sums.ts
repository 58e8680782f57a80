import { type Labels, seriesOf } from './exposition.js'
import { METRICS } from './table.js'

/**
 * Counters, by what names one: its family and its series, with a space in between. So that sums of any of them can be kept, saved and
 * shown without knowing what they are.
 */
export type Counter = string

export function counterOf(family: string, series: string): Counter {
  return `${family} ${series}`
}

export function partsOf(counter: Counter): { family: string; series: string } {
  const space = counter.indexOf(' ')
  return { family: counter.slice(0, space), series: counter.slice(space + 1) }
}

/** Of one of our own. */
export function own(name: string, labels: Labels = {}): Counter {
  return counterOf(name, seriesOf(name, labels))
}

/** What one value of a histogram adds to, or with `null` everything that there is of it. */
export function observed(name: string, seconds: number | null, labels: Labels = {}): [Counter, number][] {
  const { buckets = [] } = METRICS[name] ?? {}
  const counter = (end: string, more: Labels = {}): Counter =>
    counterOf(name, seriesOf(`${name}${end}`, { ...labels, ...more }))
  const one = seconds === null ? 0 : 1
  return [
    ...buckets.map((most): [Counter, number] => [
      counter('_bucket', { le: most }),
      seconds !== null && seconds <= most ? 1 : 0,
    ]),
    [counter('_bucket', { le: '+Inf' }), one],
    [counter('_sum'), seconds ?? 0],
    [counter('_count'), one],
  ]
}
