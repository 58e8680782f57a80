import type { Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import type { LoadTargets } from './load/kinds.js'
import type { Target } from './load/request.js'

/** Which listener is meant for which protocol; undefined: none is named. */
export interface WantedListeners {
  readonly listener?: string | undefined
  readonly https?: string | undefined
  readonly http2?: string | undefined
  readonly h2c?: string | undefined
}

export interface ChosenListeners {
  /** Of all that get load, in the order http, https, http2, h2c. */
  readonly addresses: readonly string[]
  readonly targets: LoadTargets
}

/** The listeners that get the load: those asked for, and plain HTTP/1.1 goes to the first one over TCP that no other protocol has. */
export function chooseListeners(status: Status, { listener, https, http2, h2c }: WantedListeners): ChosenListeners {
  const secure = find(status, https, true)
  const secure2 = find(status, http2, true)
  const clear2 = find(status, h2c, false)
  const others = [secure, secure2, clear2].filter((chosen) => chosen !== null)
  const taken = others.map(({ address }) => address)
  const free = tcpListeners(status).find(({ address }) => !taken.includes(address)) ?? null
  const plain = listener === undefined ? free : find(status, listener, false)
  if (plain === null && others.length === 0) throw notThere(status, 'the program listens on no TCP port')
  const targetOrNull = (chosen: Chosen | null): Target | null => chosen?.target ?? null
  return {
    addresses: [...new Set([...(plain === null ? [] : [plain.address]), ...taken])],
    targets: {
      http: targetOrNull(plain),
      https: targetOrNull(secure),
      http2: targetOrNull(secure2),
      h2c: targetOrNull(clear2),
    },
  }
}

interface Chosen {
  readonly address: string
  readonly target: Target
}

/** By address ("tcp *:3000") or port. */
function find(status: Status, wanted: string | undefined, tls: boolean): Chosen | null {
  if (wanted === undefined) return null
  for (const { address, target } of tcpListeners(status)) {
    if (wanted === address || wanted === String(target.port))
      return { address, target: tls ? { ...target, tls } : target }
  }
  throw notThere(status, `the program does not listen on ${wanted}`)
}

function tcpListeners(status: Status): Chosen[] {
  return status.listeners.flatMap(({ address }) => {
    const target = targetOf(address)
    return target === null ? [] : [{ address, target }]
  })
}

function notThere(status: Status, what: string): ReuseportError {
  const there = status.listeners.map(({ address }) => address)
  return new ReuseportError('ERR_ADDRESS', what, {
    facts: { listeners: there },
    next: `It listens on: ${there.length === 0 ? 'nothing' : there.join(', ')}.`,
  })
}

/** "tcp *:3000", "tcp 127.0.0.1:80", "tcp [::1]:3000" as an address to connect to; null for a unix listener. */
export function targetOf(address: string): Target | null {
  const match = /^tcp (\*|\[[^\]]+\]|[^:]+):(\d+)$/.exec(address)
  if (match === null) return null
  const host = (match[1] as string).replace(/^\[|\]$/g, '')
  return { host: LOOPBACK_FOR[host] ?? host, port: Number(match[2]) }
}

/** "Every address" is no address to connect to. A dual-stack listener serves IPv4 too. */
const LOOPBACK_FOR: Readonly<Record<string, string>> = { '*': '127.0.0.1', '0.0.0.0': '127.0.0.1', '::': '::1' }
