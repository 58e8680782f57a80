import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { expect } from 'vitest'
import { ask } from './clients'
import { fixture } from './paths'

/** What a scrape has shown, as Prometheus' own client for Python reads it. */
export interface Scraped {
  /** By family, as it is called in the text. */
  readonly types: ReadonlyMap<string, string>
  readonly helps: ReadonlyMap<string, string>
  /** By series, its labels in alphabetical order: `name{a="b",c="d"}`. */
  readonly values: ReadonlyMap<string, number>
  /** Sum of the series that begin so. */
  sum(series: string): number
}

type Family = readonly [
  name: string,
  type: string,
  help: string,
  samples: readonly (readonly [string, Readonly<Record<string, string>>, string])[],
]

/** Debian's, for it has Debian's modules. Ends with this process, which closes its stdin. */
let reader: { readonly ask: (text: string) => Promise<string> } | undefined

function startReader(): NonNullable<typeof reader> {
  const python = spawn('/usr/bin/python3', [fixture('read-metrics.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: { done: (line: string) => void; fail: (error: Error) => void }[] = []
  createInterface(python.stdout).on('line', (line) => waiting.shift()?.done(line))
  const fail = (): void => {
    for (const { fail } of waiting.splice(0)) fail(new Error('no parser: install python3-prometheus-client'))
  }
  python.once('error', fail).once('exit', fail)
  python.unref()
  return {
    ask: (text) =>
      new Promise((done, fail) => {
        waiting.push({ done, fail })
        python.stdin.write(`${JSON.stringify(text)}\n`)
      }),
  }
}

/** Demands also what that parser does not: that no family, and no series, is there twice, and that each has its heading. */
export async function readMetrics(text: string): Promise<Scraped> {
  reader ??= startReader()
  const read = JSON.parse(await reader.ask(text)) as { families?: readonly Family[]; wrong?: string }
  expect(read.wrong).toBeUndefined()
  const families = read.families ?? []
  const names = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name as string)
  expect(new Set(names).size).toBe(names.length)
  // Of a counter it leaves the end out.
  expect(families.map(([name, type]) => (type === 'counter' ? `${name}_total` : name))).toEqual(names)
  const values = new Map<string, number>()
  for (const [, , , samples] of families)
    for (const [name, labels, value] of samples) {
      const series = nameOf(name, labels)
      expect(values.has(series), series).toBe(false)
      values.set(series, Number(value.replace('inf', 'Infinity')))
    }
  return {
    types: new Map(families.map(([, type], index) => [names[index] as string, type])),
    helps: new Map(families.map(([, , help], index) => [names[index] as string, help])),
    values,
    sum: (begin) => [...values].reduce((total, [name, value]) => total + (name.startsWith(begin) ? value : 0), 0),
  }
}

function nameOf(name: string, labels: Readonly<Record<string, string>>): string {
  const pairs = Object.keys(labels)
    .sort()
    .map((label) => `${label}=${JSON.stringify(labels[label])}`)
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`
}

export async function scrape(port: number): Promise<Scraped> {
  return readMetrics(await ask(port, '/metrics'))
}

/** Counters and histograms: what the earlier one has is in the later one, and not less. */
export function expectNoFall(before: Scraped, after: Scraped): void {
  const fallen = [...before.values].flatMap(([series, value]) => {
    const name = series.replace(/\{.*/s, '')
    const family = before.types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
    if (!['counter', 'histogram'].includes(before.types.get(family) ?? '')) return []
    const now = after.values.get(series)
    return now === undefined || now < value ? [`${series}: ${value}, then ${now}`] : []
  })
  expect(fallen).toEqual([])
}
