import type { Status } from '../control-protocol.js'
import { ReuseportError } from '../errors.js'
import type { Target } from './load/request.js'

/** The listener that gets the load: the one asked for, by address ("tcp *:3000") or port, else the first one over TCP. */
export function chooseListener(
  status: Status,
  wanted: string | undefined,
): { readonly address: string; readonly target: Target } {
  for (const { address } of status.listeners) {
    const target = targetOf(address)
    if (target === null) continue
    if (wanted === undefined || wanted === address || wanted === String(target.port)) return { address, target }
  }
  const there = status.listeners.map(({ address }) => address)
  throw new ReuseportError(
    'ERR_ADDRESS',
    wanted === undefined ? 'the program listens on no TCP port' : `the program does not listen on ${wanted}`,
    {
      facts: { listeners: there },
      next: `It listens on: ${there.length === 0 ? 'nothing' : there.join(', ')}.`,
    },
  )
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
