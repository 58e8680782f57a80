import { type MetricType, seriesOf } from './exposition.js'

/** One value of a family of the program's own metrics, in one worker. */
export interface AppValue {
  readonly series: string
  readonly value: number
  /** It can be added up over workers, and never falls; else each worker has its own. */
  readonly grows: boolean
}

export interface AppFamily {
  readonly name: string
  readonly type: MetricType
  readonly help: string
  readonly values: readonly AppValue[]
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/
const TYPES: readonly unknown[] = ['counter', 'gauge', 'histogram', 'summary'] satisfies MetricType[]

/**
 * What a worker's own registries say (getMetricsAsJSON() of prom-client), as far as it makes sense: the program has written it. Counters and histograms
 * are for all workers together, gauges and summaries say of which slot they are. A label `slot` of the program's own is called `exported_slot`,
 * as Prometheus does it.
 */
export function appFamilies(registries: readonly unknown[], slot: number): AppFamily[] {
  return registries.flatMap((one) => familyOf(one, slot) ?? [])
}

type Fields = Readonly<Record<string, unknown>>
const isRecord = (value: unknown): value is Fields => typeof value === 'object' && value !== null

function familyOf(one: unknown, slot: number): AppFamily | undefined {
  if (!isRecord(one)) return undefined
  const { name, type, help, values, aggregator } = one
  // 'omit': the program does not want to see it in a sum of processes.
  if (typeof name !== 'string' || !NAME.test(name) || aggregator === 'omit') return undefined
  if (!TYPES.includes(type) || !Array.isArray(values)) return undefined
  return {
    name,
    type: type as MetricType,
    help: typeof help === 'string' ? help : '',
    values: values.flatMap((value) => valueIn(value, { name, type: type as MetricType, slot }) ?? []),
  }
}

function valueIn(
  one: unknown,
  { name, type, slot }: { name: string; type: MetricType; slot: number },
): AppValue | undefined {
  if (!isRecord(one)) return undefined
  const { metricName = name, labels = {}, sharedLabels = {} } = one
  const value = numberOf(one['value'])
  if (value === undefined || typeof metricName !== 'string' || !isPartOf(metricName, name)) return undefined
  if (!isRecord(labels) || !isRecord(sharedLabels)) return undefined
  const own = Object.entries({ ...sharedLabels, ...labels })
  if (own.some(([label, text]) => !LABEL.test(label) || (typeof text !== 'string' && typeof text !== 'number')))
    return undefined
  const named = Object.fromEntries(own.map(([label, text]) => [label === 'slot' ? 'exported_slot' : label, text]))
  const isShared = type === 'counter' || type === 'histogram'
  const all = (isShared ? named : { ...named, slot }) as Record<string, string | number>
  const grows = isShared || (type === 'summary' && metricName !== name)
  // What is no number would make its sum none for ever.
  if (grows && !Number.isFinite(value)) return undefined
  return { series: seriesOf(metricName, all), value, grows }
}

function isPartOf(metricName: string, name: string): boolean {
  return metricName === name || ['_bucket', '_sum', '_count'].some((end) => metricName === `${name}${end}`)
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  if (value === 'NaN') return Number.NaN
  return value === '+Inf' ? Number.POSITIVE_INFINITY : value === '-Inf' ? Number.NEGATIVE_INFINITY : undefined
}
