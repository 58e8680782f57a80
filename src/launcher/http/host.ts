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

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}
