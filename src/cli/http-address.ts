import { resolve } from 'node:path'
import type { HttpAddress } from '../options.js'
import { type CommandLine, usage } from './parse.js'
import { text } from './values.js'

/** Bytes of sun_path (unix(7): 108 with its zero). */
const LONGEST_PATH = 107
const EXAMPLES =
  'Write 9090 or 127.0.0.1:9090 (this machine only), [::1]:9090, unix:/run/status.sock; or 0.0.0.0:9090, *:9090: everybody who can reach it.'

/** Of an option that may be left out. Throws ERR_USAGE. */
export function httpOption(values: CommandLine['values'], name: string): HttpAddress | undefined {
  const given = text(values, name)
  return given === undefined ? undefined : httpAddress(given, name)
}

/** Where the launcher itself answers: without a host that is this machine only, for others it must be said. Throws ERR_USAGE. */
export function httpAddress(given: string, option: string): HttpAddress {
  const refuse = (why: string): never => {
    throw usage(`--${option} ${JSON.stringify(given)}: ${why}`, EXAMPLES)
  }
  const path = /^unix:(.*)$/s.exec(given)?.[1]
  if (path !== undefined) {
    if (!path.startsWith('/') || path.includes('\0')) return refuse('the path must begin with "/"')
    const resolved = resolve(path)
    if (Buffer.byteLength(resolved) > LONGEST_PATH) return refuse(`the path has more than ${LONGEST_PATH} bytes`)
    return { kind: 'unix', path: resolved }
  }
  const [, bracketed, plain = '', digits = ''] = /^(?:(?:\[([^\]]*)\]|([^:]*)):)?([^:]*)$/.exec(given) ?? []
  const port = Number(digits)
  if (!/^\d+$/.test(digits) || port < 1 || port > 65_535)
    return refuse(digits === '0' ? 'port 0 is another one each time' : `${JSON.stringify(digits)} is no port`)
  if (bracketed === undefined && (plain === '' || plain === 'localhost'))
    return { kind: 'tcp', host: '127.0.0.1', port }
  if (plain === '*') return { kind: 'tcp', host: null, port }
  const host = bracketed ?? plain
  // It brings streams and sockets with it.
  const { isIP } = require('node:net') as typeof import('node:net')
  if (isIP(host) !== (bracketed === undefined ? 4 : 6)) return refuse(`${JSON.stringify(host)} is no address`)
  return { kind: 'tcp', host, port }
}
