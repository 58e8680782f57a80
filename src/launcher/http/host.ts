import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

/**
 * Whether a request that came in by the loopback means this machine. A page of a stranger in a browser of this machine can point a name of his
 * at 127.0.0.1 and read what is answered there (DNS rebinding): but then `Host` has that name. An address cannot be pointed elsewhere, and
 * localhost is nobody's. `localAddress`: where the connection came in; undefined: not by TCP. `host`: undefined in HTTP/1.0.
 */
export function isMeant(host: string | undefined, localAddress: string | undefined): boolean {
  if (host === undefined || localAddress === undefined || !isLoopback(localAddress)) return true
  const name = host
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
  return isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost')
}

/**
 * Whether a page of another site asks, and not a person who follows its link. It could not read the answer, but it could take all the places.
 * A browser says so of what it asks of the loopback (Fetch Metadata).
 */
export function isOfAnotherSite({ 'sec-fetch-site': site, 'sec-fetch-mode': mode }: IncomingHttpHeaders): boolean {
  return (site === 'cross-site' || site === 'same-site') && mode !== 'navigate'
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}
