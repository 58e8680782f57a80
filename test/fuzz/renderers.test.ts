import { createRequire } from 'node:module'
import fc from 'fast-check'
import { expect } from 'vitest'
import type * as verdicts from '../../src/cli/verdict'
import type { Verdict } from '../../src/control-protocol'
import { render, seriesOf } from '../../src/launcher/metrics/exposition'
import { createLog } from '../../src/log'
import { anyText, fuzz } from '../support/fuzz'

const { describeVerdict } = createRequire(import.meta.url)('../../dist/cli/verdict.js') as typeof verdicts

const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/
const text = anyText.map((all) => all.slice(0, 2_000))
const value = fc.oneof(
  text,
  fc.integer(),
  fc.double(),
  fc.constantFrom(null, undefined, true),
  fc.array(text, { maxLength: 3 }),
)
const FIELDS = ['reason', 'text', 'code', 'slot', 'pid', 'path', 'addresses']

fuzz(
  'log-lines',
  'an event is a line, whatever is in it; its stderr is lines that are visibly not (L-08, S-11)',
  fc.record({
    fields: fc.dictionary(fc.constantFrom(...FIELDS), value),
    stderr: fc.option(fc.array(text, { maxLength: 3 })),
  }),
  ({ fields, stderr }) => {
    const all = stderr === null ? fields : { ...fields, stderr }
    const out: string[] = []
    createLog('text', (line) => out.push(line), false)('warn', 'worker.exited', all)
    const lines = out.join('').split('\n')
    expect(lines.pop()).toBe('')
    expect(lines.join('')).not.toMatch(CONTROLS)
    expect(lines[0]).toMatch(/^warn worker\.exited(?: [a-z]+=(?:[^\s"=]+|"(?:[^"\\]|\\.)*"))*$/)
    expect(lines.slice(1).every((line) => line.startsWith('    | '))).toBe(true)
    expect(lines).toHaveLength(1 + (stderr?.length ?? 0))
    out.length = 0
    createLog('json', (line) => out.push(line), false)('warn', 'worker.exited', all)
    expect(out.join('').slice(0, -1)).not.toContain('\n')
    expect(JSON.parse(out.join(''))).toMatchObject({ msg: 'worker.exited', level: 40, pid: process.pid })
  },
)

fuzz(
  'metrics',
  'a label is one label, whatever is in it, and a series one line (S-11)',
  fc.record({ label: text, help: text, number: fc.double() }),
  ({ label, help, number }) => {
    const series = seriesOf('m', { a: label, b: 1 })
    const page = render([{ name: 'm', type: 'gauge', help, values: new Map([[series, number]]) }])
    const lines = page.split('\n')
    expect(lines).toHaveLength(4)
    const [, inside, told] = /^m\{a="((?:[^"\\]|\\[\\"n])*)",b="1"\} (\S+)$/s.exec(lines[2] as string) ?? []
    expect(inside?.replace(/\\(.)/gs, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))).toBe(label)
    expect(Object.is(Number(told?.replace('Inf', 'Infinity')), number) || number === 0).toBe(true)
  },
)

const fates = { moved: 0, closed: 0, cut: 1 }
fuzz(
  'verdicts',
  'a verdict on a terminal has no control characters, and whatever a program has said is behind what we say (S-11)',
  fc.record({
    reason: text,
    stderr: fc.array(text, { maxLength: 3 }),
    path: text,
    method: text,
    result: fc.constantFrom('done', 'aborted', 'undone'),
  }),
  ({ reason, stderr, path, method, result }) => {
    const request = { kind: 'http', method, path, ageMs: null, bytesWritten: 0, bytesRead: 0 }
    const worker = {
      slot: 0,
      oldPid: 1,
      newPid: 2,
      ms: {},
      kept: null,
      warmup: null,
      answered: null,
      ...fates,
      kinds: {},
    }
    const verdict = {
      ...{
        id: 1,
        result,
        step: 'start',
        reason,
        stderr,
        from: 1,
        to: 2,
        undo: null,
        canary: null,
        changes: [],
        notes: [],
      },
      ...{ draining: 0, kernel: { shared: false, OutRsts: 0, ListenDrops: 0, ListenOverflows: 0 } },
      workers: [{ ...worker, requests: [request], moreRequests: 0 }],
    } as unknown as Verdict
    const lines = describeVerdict(verdict, null).split('\n')
    expect(lines.join('')).not.toMatch(CONTROLS)
    for (const line of lines.slice(1)) expect(line).toMatch(/^( {2}|generation \d|$)/)
  },
)
