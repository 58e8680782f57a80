/**
 * The text format of Prometheus, version 0.0.4. A series is written as it stands in the text, `name{label="value"}`, and that is its name
 * everywhere else, too.
 */

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export type MetricType = 'counter' | 'gauge' | 'histogram' | 'summary' | 'untyped'

export interface Family {
  readonly name: string
  readonly type: MetricType
  readonly help: string
  /** By series. */
  readonly values: ReadonlyMap<string, number>
}

export type Labels = Readonly<Record<string, string | number>>

export function seriesOf(name: string, labels: Labels = {}): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escapeValue(String(value))}"`)
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`
}

/** Families without a value are left out. */
export function render(families: readonly Family[]): string {
  const parts = families
    .filter(({ values }) => values.size > 0)
    .map(({ name, type, help, values }) => {
      const lines = [...values].map(([series, value]) => `${series} ${numberOf(value)}\n`)
      return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`
    })
  return parts.join('')
}

function numberOf(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function escapeValue(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"')
}
