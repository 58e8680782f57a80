import { describe, expect, it } from 'vitest'
import { parseReport } from '../../src/launcher/report.js'
import { addHeld, addOutcomes } from '../../src/outcomes.js'
import type { CutRequest, DrainOutcome } from '../../src/protocol.js'

const request: CutRequest = { kind: 'http', method: 'GET', path: '/a', ageMs: null, bytesWritten: 1, bytesRead: 2 }
const fates = { ended: 1, closed: 2, cut: 3, moved: 4 }
const outcome: DrainOutcome = { ...fates, kinds: { http: fates }, requests: [request], moreRequests: 0, early: false }

describe('outcomes of several', () => {
  it('add up, by kind too', () => {
    const other: DrainOutcome = { ...fates, kinds: { http: fates, sse: fates }, requests: [], moreRequests: 5 }
    expect(addOutcomes([outcome, other])).toEqual({
      ended: 2,
      closed: 4,
      cut: 6,
      moved: 8,
      kinds: { http: { ended: 2, closed: 4, cut: 6, moved: 8 }, sse: fates },
      requests: [request],
      moreRequests: 5,
      early: false,
    })
  })

  it('name twenty requests at most, and count the rest', () => {
    const many = { ...outcome, requests: Array<CutRequest>(15).fill(request), moreRequests: 2, early: true }
    const { requests, moreRequests, early } = addOutcomes([many, many, outcome])
    expect([requests?.length, moreRequests, early]).toEqual([20, 4 + 11, true])
  })

  it('of agents of another version, that say less', () => {
    expect(addOutcomes([{ ended: 1, closed: 0, cut: 0 }])).toMatchObject({
      ended: 1,
      moved: 0,
      kinds: {},
      requests: [],
    })
  })

  it('what is held adds up, and the oldest is the oldest', () => {
    const held = addHeld([
      { http: { open: 1, oldestMs: null }, sse: { open: 1, oldestMs: 7 } },
      { http: { open: 2, oldestMs: 5 }, sse: { open: 1, oldestMs: null } },
      { sse: { open: 1, oldestMs: 9 } },
    ])
    expect(held).toEqual({ http: { open: 3, oldestMs: 5 }, sse: { open: 3, oldestMs: 9 } })
  })
})

describe('what a worker says of its drain', () => {
  const parse = (message: object): unknown => parseReport(Buffer.from(JSON.stringify(message)))

  it.each([
    { type: 'drained', outcome },
    { type: 'drained', outcome: { ended: 0, closed: 0, cut: 0 } },
    { type: 'draining', held: {} },
    { type: 'draining', held: { tcp: { open: 3, oldestMs: null } } },
    { type: 'closed-early', call: 'server.close()', cut: 1, open: 0 },
  ])('is believed when it can be (%#)', (message) => {
    expect(parse(message)).toEqual(message)
  })

  const wrong: readonly object[] = [
    { type: 'drained', outcome: { ...outcome, cut: -1 } },
    { type: 'drained', outcome: { ...outcome, kinds: { gopher: fates } } },
    { type: 'drained', outcome: { ...outcome, kinds: { http: { ...fates, moved: 'many' } } } },
    { type: 'drained', outcome: { ...outcome, requests: Array(21).fill(request) } },
    { type: 'drained', outcome: { ...outcome, requests: [{ ...request, path: 'x'.repeat(201) }] } },
    { type: 'drained', outcome: { ...outcome, requests: [{ ...request, ageMs: 1.5 }] } },
    { type: 'drained', outcome: { ...outcome, moreRequests: Number.MAX_VALUE } },
    { type: 'drained', outcome: { ...outcome, early: 'yes' } },
    { type: 'draining', held: { http: { open: 1 } } },
    { type: 'draining', held: { __proto__: null, constructor: { open: 1, oldestMs: 1 } } },
    { type: 'closed-early', call: 5, cut: 1, open: 0 },
    { type: 'closed-early', call: 'server.close()\x1b[2J', cut: 1, open: 0 },
  ]
  it.each(wrong.map((one) => [one]))('is no message when it cannot (%#)', (message) => {
    expect(() => parse(message)).toThrow(/it is no/)
  })
})
