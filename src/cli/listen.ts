import { resolve } from 'node:path'
import { DEFAULTS, type LauncherOptions, type ListenOption } from '../options.js'
import { type ListenAddress, listenerKey } from '../protocol.js'
import { type CommandLine, usage } from './parse.js'
import { duration, texts } from './values.js'

/** `--listen`, and what it changes of the meaning of other options. Throws ERR_USAGE. */

/** What only our agent can do, and a program that is given its sockets has none. */
const OF_THE_AGENT = [
  'ports',
  'compat',
  'instance-var',
  'standby',
  'bake-max-5xx',
  'no-migrate',
  'bake-migrate',
  'websocket',
  'drain-spread',
  'udp-linger',
  'hang-timeout',
  'hang-kill',
  'health-command',
  'health-port',
  'warmup',
] as const

/** Bytes of sun_path that are left for a name beside it (unix(7): 108 with its zero). */
const LONGEST_PATH = 96
const EXAMPLES =
  'Write tcp:3000, tcp:127.0.0.1:3000, tcp:[::1]:3000, udp:5353, unix:/run/app.sock or fd:NAME, each with NAME= before it.'

export function listenOptions(values: CommandLine['values']): readonly ListenOption[] {
  const options = texts(values, 'listen').map(listenOption)
  if (options.length === 0) return options
  const useless = OF_THE_AGENT.find((name) => values[name] !== undefined)
  if (useless !== undefined)
    throw usage(
      `--${useless} has no effect with --listen`,
      'A program that is given its sockets is run as it is, without our agent (docs/any-program.md).',
    )
  const keys = options.map(({ from }) => (typeof from === 'string' ? `fd:${from}` : listenerKey(from)))
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twice !== undefined) throw usage(`--listen names ${twice} twice`)
  return options
}

/** What a worker must say to be ready, with the time of `alive:TIME`. */
export function readyOptions(
  given: string | undefined,
  listen: readonly ListenOption[],
): Pick<LauncherOptions, 'ready' | 'aliveMs'> {
  const { aliveMs, ready } = DEFAULTS
  const isForeign = listen.length > 0
  if (given === undefined) return { ready: isForeign ? 'alive' : ready, aliveMs }
  const [, time] = /^alive(?::(.*))?$/s.exec(given) ?? [undefined, null]
  if (time !== null) {
    if (!isForeign)
      throw usage(
        '--ready alive needs --listen',
        'Of any other program it is known whether it listens: leave --ready out.',
      )
    return { ready: 'alive', aliveMs: time === undefined ? aliveMs : duration(time, 'ready alive') }
  }
  const found = (['listening', 'message', 'notify'] as const).find((signal) => signal === given)
  if (found === undefined)
    throw usage(`--ready ${JSON.stringify(given)} is none of listening, message, notify, alive:TIME`)
  if (isForeign && found !== 'notify')
    throw usage(
      `--ready ${found} cannot be seen with --listen`,
      'A program that is given its sockets says READY=1 (--ready notify), or is taken at its staying alive (--ready alive:1s).',
    )
  return { ready: found, aliveMs }
}

export function listenOption(given: string): ListenOption {
  const refuse = (why: string): never => {
    throw usage(`--listen ${JSON.stringify(given)}: ${why}`, EXAMPLES)
  }
  const [, label, kind, where = ''] =
    /^(?:([^=]*)=)?(tcp|udp|unix|fd):(.*)$/s.exec(given) ?? refuse('it begins with none of tcp:, udp:, unix:, fd:')
  const name = label === undefined ? null : nameOf(label, refuse)
  if (kind === 'fd') return { name, from: nameOf(where, refuse) }
  if (kind === 'unix') return { name, from: { kind, path: pathOf(where, refuse) } }
  return { name, from: inetOf(kind as 'tcp' | 'udp', where, refuse) }
}

type Refuse = (why: string) => never

/** What sd_listen_fds_with_names(3) can tell apart: printable ASCII without a colon. */
function nameOf(word: string, refuse: Refuse): string {
  return /^[!-9;-~]{1,255}$/.test(word) ? word : refuse(`${JSON.stringify(word)} is no name`)
}

function pathOf(path: string, refuse: Refuse): string {
  if (!path.startsWith('/') || path.includes('\0')) return refuse('the path must begin with "/"')
  const resolved = resolve(path)
  if (Buffer.byteLength(resolved) > LONGEST_PATH) return refuse(`the path has more than ${LONGEST_PATH} bytes`)
  return resolved
}

function inetOf(kind: 'tcp' | 'udp', where: string, refuse: Refuse): ListenAddress {
  const [, bracketed, plain, digits = ''] = /^(?:(?:\[([^\]]*)\]|([^:]*)):)?([^:]*)$/.exec(where) ?? []
  const port = Number(digits)
  if (!/^\d+$/.test(digits) || port < 1 || port > 65_535)
    return refuse(digits === '0' ? 'port 0 is another one each time' : `${JSON.stringify(digits)} is no port`)
  const host = bracketed ?? plain
  if (host === undefined || host === '*') return { kind, host: null, port, ipv6Only: false }
  // It brings streams and sockets with it.
  const { isIP } = require('node:net') as typeof import('node:net')
  if (isIP(host) !== (bracketed === undefined ? 4 : 6)) return refuse(`${JSON.stringify(host)} is no address`)
  return { kind, host, port, ipv6Only: false }
}
