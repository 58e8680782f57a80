import { type Hello, listenerKey, type Report } from '../../src/protocol'

const address = { kind: 'tcp', host: null, port: 3000, ipv6Only: false } as const
const fates = { ended: 1, closed: 0, cut: 1, moved: 0 }
const rejoin = {
  generation: 1,
  slot: 0,
  state: 'serving',
  term: 1,
  working: 1,
  startedAt: 0,
  claims: [{ id: 1, address, backlog: 511, listening: true }],
  sockets: [{ listener: listenerKey(address), slot: 0 }],
  adopted: [],
} as const satisfies Hello['rejoin']

/** What a worker may say: one of each. */
export const REPORTS: readonly Report[] = [
  { type: 'hello', version: 1, token: '0'.repeat(32), node: 'v20', thread: 0, rejoin },
  { type: 'claim', id: 1, address, backlog: 511, ready: 'program' },
  { type: 'claim', id: 2, address: { kind: 'unix', path: '/run/a.sock' }, backlog: 5 },
  { type: 'listening', id: 1 },
  { type: 'ready', id: 1 },
  { type: 'released', id: 1 },
  {
    type: 'drained',
    outcome: {
      ...fates,
      kinds: { http: fates },
      requests: [{ kind: 'http', method: 'GET', path: '/', ageMs: 1, bytesWritten: 1, bytesRead: 1 }],
      moreRequests: 1,
      early: true,
    },
  },
  { type: 'draining', held: { http: { open: 1, oldestMs: 5 } } },
  { type: 'closed-early', call: 'server.close()', cut: 1, open: 1 },
  { type: 'answered', connections: 1, responses: 1, errors: 0, times: [1, 2] },
  { type: 'ack', seq: 1, result: { speaks: 'http', connections: 1, requests: 1, heard: true } },
  { type: 'nack', seq: 1, code: 'x', message: 'y' },
  { type: 'sockets', seq: 1, fds: [{ listener: 'tcp *:3000', slot: 0 }], last: true },
  { type: 'warning', code: 'x', message: 'y' },
  { type: 'unknown', of: 'x' },
]
