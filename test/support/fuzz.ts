import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fixture } from './paths'

/*
 * Any input, against whatever reads what others have written. `npm test` tries the same few each time; a campaign (scripts/fuzz.mjs) others:
 * FUZZ_SECONDS for each target, or FUZZ_RUNS, and FUZZ_SEED for those of an earlier one. Who fails says seed and input; the input then goes into
 * test/fixtures/fuzz/TARGET.json, and is tried first from then on.
 */

const { FUZZ_RUNS, FUZZ_SECONDS, FUZZ_SEED, FUZZ_COUNTS } = process.env
const seconds = Number(FUZZ_SECONDS ?? 0)
const isCampaign = seconds > 0 || FUZZ_RUNS !== undefined
const seed = Number(FUZZ_SEED ?? (isCampaign ? Date.now() % 2 ** 31 : 1))

/** `runs`: of `npm test`. */
export function fuzz<T>(
  target: string,
  title: string,
  arbitrary: fc.Arbitrary<T>,
  check: (input: T) => void | Promise<void>,
  runs = 500,
): void {
  test(`${target}: ${title}`, { timeout: FUZZ_TIMEOUT_MS }, () => fuzzing(target, arbitrary, runs, check))
}

export const FUZZ_TIMEOUT_MS: number = seconds * 1_000 + (isCampaign ? 600_000 : 30_000)

/** In a test that has more to do. `check` may say of how many inputs this one was. */
export async function fuzzing<T>(
  target: string,
  arbitrary: fc.Arbitrary<T>,
  runs: number,
  check: (input: T) => unknown,
): Promise<void> {
  const before = Object.getOwnPropertyNames(Object.prototype).join()
  const numRuns = seconds > 0 ? 2 ** 31 - 1 : Number(FUZZ_RUNS ?? runs)
  let inputs = 0
  const property = fc.asyncProperty(arbitrary, async (input) => {
    const many = await check(input)
    inputs += typeof many === 'number' ? many : 1
    // Nothing that was read may reach what all objects have.
    expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(before)
  })
  const limit = seconds > 0 ? { interruptAfterTimeLimit: seconds * 1_000, markInterruptAsFailure: false } : {}
  const run = await fc.check(property, { seed, numRuns, examples: examplesOf<T>(target), ...limit })
  if (isCampaign) console.log(`${target}: ${inputs} inputs, seed ${seed}`)
  if (FUZZ_COUNTS !== undefined)
    appendFileSync(FUZZ_COUNTS, `${JSON.stringify({ target, seed, inputs, failed: run.failed })}\n`)
  if (run.failed) throw new Error(fc.defaultReportMessage(run), { cause: run.errorInstance })
}

/** Inputs that have failed once. */
function examplesOf<T>(target: string): [T][] {
  const path = fixture(`fuzz/${target}.json`)
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T[]).map((input) => [input]) : []
}

/** What is refused is refused in words, not by stumbling over it. */
export function orRefused<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(TypeError)
    expect(error).not.toBeInstanceOf(RangeError)
    expect((error as Error).message).not.toBe('')
    return undefined
  }
}

const KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'length',
  'type',
  'fds',
  'id',
  '0',
  '',
]

/** Any text, with what could end a line, a field or a quotation, or speak to a terminal. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.string(),
  fc.string({
    unit: fc.constantFrom(
      '\n',
      '\r',
      '\t',
      '\x1b',
      '\0',
      '\x7f',
      '\x9b',
      '"',
      '\\',
      '=',
      ' ',
      'a',
      '\u2028',
      '😀',
      ',',
      '{',
      '}',
      '#',
    ),
  }),
  fc.constantFrom(...KEYS, 'x'.repeat(70_000)),
)

const anyValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, false, 0, -1, 1, 2, 3, 1.5, 2 ** 31, 2 ** 53, 1e308, [], {}, [[]], { polluted: 1 }),
  anyText,
  fc.jsonValue(),
)

interface Edit {
  readonly at: number
  readonly how: 'set' | 'drop' | 'add' | 'copy' | 'number'
  readonly key: string
  readonly value: unknown
}

const anyEdit: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('set' as const, 'drop' as const, 'add' as const, 'copy' as const, 'number' as const),
  key: fc.oneof(fc.constantFrom(...KEYS), fc.string()),
  value: anyValue,
})

const seldom = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.oneof({ arbitrary: fc.constant(null), weight: 9 }, arbitrary)

/** JSON of one of these, with some of it changed, taken out, put in or cut off: of what is well-formed most is still there. */
export function damaged(samples: readonly unknown[]): fc.Arbitrary<string> {
  return fc
    .record({
      sample: fc.nat({ max: samples.length - 1 }),
      edits: fc.array(anyEdit, { maxLength: 4 }),
      cut: seldom(fc.nat()),
      insert: seldom(fc.tuple(fc.nat(), anyText)),
    })
    .map(({ sample, edits, cut, insert }) => {
      const root: { value: unknown } = { value: structuredClone(samples[sample]) }
      for (const edit of edits) apply(edit, root)
      let text = JSON.stringify(root.value) ?? ''
      if (insert !== null)
        text = `${text.slice(0, insert[0] % (text.length + 1))}${insert[1]}${text.slice(insert[0] % (text.length + 1))}`
      return cut === null ? text : text.slice(0, cut % (text.length + 1))
    })
}

type Place = readonly [owner: object, name: string]

/** Every place in it where something else could be. */
function placesIn(owner: object, found: Place[] = []): Place[] {
  for (const [key, value] of Object.entries(owner)) {
    found.push([owner, key])
    if (typeof value === 'object' && value !== null) placesIn(value, found)
  }
  return found
}

function apply({ at, how, key, value: given }: Edit, root: object): void {
  // Of its own: the next edit may change it.
  const value = structuredClone(given)
  const all = placesIn(root)
  const numbers = all.filter(([owner, name]) => typeof read([owner, name]) === 'number')
  const places = how === 'number' && numbers.length > 0 ? numbers : all
  const place = places[at % places.length] as Place
  const [owner, name] = place
  const there = read(place)
  if (how === 'number') put(owner, name, NUMBERS[(at >> 8) % NUMBERS.length])
  else if (how === 'drop' && owner !== root) {
    if (Array.isArray(owner)) owner.splice(Number(name), 1)
    else delete (owner as Record<string, unknown>)[name]
  } else if (how === 'add' && Array.isArray(there)) there.push(value)
  else if (how === 'add' && typeof there === 'object' && there !== null) put(there, key, value)
  else if (how === 'copy') put(owner, name, structuredClone(read(places[(at * 7) % places.length] as Place)))
  else put(owner, name, value)
}

const NUMBERS = [-1, 0, 1, 2, 3, 1.5, 2 ** 31, 2 ** 53]

const read = ([owner, name]: Place): unknown => (owner as Record<string, unknown>)[name]

/** As JSON.parse makes them: also one that is called __proto__. */
function put(target: object, property: string, value: unknown): void {
  Object.defineProperty(target, property, { value, enumerable: true, configurable: true, writable: true })
}
