import { describe, expect, it } from 'vitest'
import { launcherOptions } from '../../src/cli/launcher-options.js'
import { parseCommandLine } from '../../src/cli/parse.js'
import type { ReuseportError } from '../../src/errors.js'
import { listenVariables, takeListenFds } from '../../src/launcher/listen-fds.js'

const optionsOf = (...words: string[]) => launcherOptions(parseCommandLine([...words, '--', 'app']), '/srv')
const listens = (...given: string[]) => optionsOf(...given.map((one) => `--listen=${one}`)).listen
const refused = (...words: string[]): string => {
  try {
    optionsOf(...words)
  } catch (error) {
    expect((error as ReuseportError).code).toBe('ERR_USAGE')
    return (error as Error).message
  }
  return 'taken'
}

const inet = (kind: 'tcp' | 'udp', host: string | null, port: number) =>
  ({ kind, host, port, ipv6Only: false }) as const

describe('--listen', () => {
  it('names addresses, paths, and sockets that were given to us', () => {
    expect(listens()).toEqual([])
    expect(listens('tcp:3000', 'tcp:*:3001', 'http=tcp:127.0.0.1:80', 'tcp:[::1]:80', 'udp:53')).toEqual([
      { name: null, from: inet('tcp', null, 3000) },
      { name: null, from: inet('tcp', null, 3001) },
      { name: 'http', from: inet('tcp', '127.0.0.1', 80) },
      { name: null, from: inet('tcp', '::1', 80) },
      { name: null, from: inet('udp', null, 53) },
    ])
    expect(listens('unix:/run/../run/a=b.sock', 'admin=unix:/run/c:d', 'fd:web', 'x=fd:y')).toEqual([
      { name: null, from: { kind: 'unix', path: '/run/a=b.sock' } },
      { name: 'admin', from: { kind: 'unix', path: '/run/c:d' } },
      { name: null, from: 'web' },
      { name: 'x', from: 'y' },
    ])
  })

  it.each([
    ['', 'it begins with none of tcp:, udp:, unix:, fd:'],
    ['3000', 'it begins with none of tcp:, udp:, unix:, fd:'],
    ['sctp:3000', 'it begins with none of tcp:, udp:, unix:, fd:'],
    ['a=b=tcp:3000', 'it begins with none of tcp:, udp:, unix:, fd:'],
    ['tcp:', '"" is no port'],
    ['tcp:0', 'port 0 is another one each time'],
    ['tcp:65536', '"65536" is no port'],
    ['tcp:http', '"http" is no port'],
    ['tcp:-1', '"-1" is no port'],
    ['tcp:1e3', '"1e3" is no port'],
    ['tcp: 80', '" 80" is no port'],
    ['tcp:localhost:80', '"localhost" is no address'],
    ['tcp::80', '"" is no address'],
    ['tcp:::1:80', '"" is no port'],
    ['tcp:[127.0.0.1]:80', '"127.0.0.1" is no address'],
    ['tcp:[]:80', '"" is no address'],
    ['tcp:1.2.3.4.5:80', '"1.2.3.4.5" is no address'],
    ['udp:[::1]', '"" is no port'],
    ['unix:', 'the path must begin with "/"'],
    ['unix:app.sock', 'the path must begin with "/"'],
    [`unix:/${'x'.repeat(96)}`, 'the path has more than 96 bytes'],
    ['fd:', '"" is no name'],
    ['fd:a:b', '"a:b" is no name'],
    ['=tcp:80', '"" is no name'],
    ['a b=tcp:80', '"a b" is no name'],
    ['ä=tcp:80', '"ä" is no name'],
  ])('%j is refused', (given, why) => {
    expect(refused(`--listen=${given}`)).toBe(`--listen ${JSON.stringify(given)}: ${why}`)
  })

  it('names each once', () => {
    expect(refused('--listen', 'tcp:80', '--listen', 'a=tcp:*:80')).toBe('--listen names tcp *:80 twice')
    expect(refused('--listen', 'fd:a', '--listen', 'fd:a')).toBe('--listen names fd:a twice')
    expect(refused('--listen', 'tcp:80', '--listen', 'udp:80')).toBe('taken')
  })

  it.each([
    ['--ports', '80'],
    ['--compat', 'pm2'],
    ['--instance-var', 'SHARD'],
    ['--standby', '1'],
    ['--bake-max-5xx', '1%'],
    ['--no-migrate'],
    ['--bake-migrate'],
    ['--websocket', 'keep'],
    ['--drain-spread', '1s'],
    ['--udp-linger', '1s'],
    ['--hang-timeout', '1s'],
    ['--hang-kill', '1s'],
    ['--health-command', 'true'],
    ['--health-port', '80', '--health', '/'],
  ])('does not go with %s', (...words) => {
    expect(refused('--listen', 'tcp:80', ...words)).toBe(`${words[0]} has no effect with --listen`)
  })
})

describe('--udp-linger', () => {
  it('is part of the drain', () => {
    expect(refused('--udp-linger', '30s')).toBe(
      '--udp-linger (30000 ms) must be shorter than --drain-timeout (30000 ms)',
    )
    expect(optionsOf('--udp-linger', '30s', '--drain-timeout', '40s')).toMatchObject({ udpLingerMs: 30_000 })
  })
})

describe('--ready', () => {
  it('is staying alive for a while, with --listen', () => {
    expect(optionsOf('--listen', 'tcp:80')).toMatchObject({ ready: 'alive', aliveMs: 1_000 })
    expect(optionsOf('--listen', 'tcp:80', '--ready', 'alive')).toMatchObject({ ready: 'alive', aliveMs: 1_000 })
    expect(optionsOf('--listen', 'tcp:80', '--ready', 'alive:250ms')).toMatchObject({ ready: 'alive', aliveMs: 250 })
    expect(optionsOf('--listen', 'tcp:80', '--ready', 'notify')).toMatchObject({ ready: 'notify' })
    expect(optionsOf()).toMatchObject({ ready: 'listening' })
  })

  it.each([
    [['--ready', 'alive:1s'], '--ready alive needs --listen'],
    [['--listen', 'tcp:80', '--ready', 'alive:'], '--ready alive "" is no time'],
    [['--listen', 'tcp:80', '--ready', 'alive:soon'], '--ready alive "soon" is no time'],
    [
      ['--listen', 'tcp:80', '--ready', 'alive1s'],
      '--ready "alive1s" is none of listening, message, notify, alive:TIME',
    ],
    [['--listen', 'tcp:80', '--ready', 'listening'], '--ready listening cannot be seen with --listen'],
    [['--listen', 'tcp:80', '--ready', 'message'], '--ready message cannot be seen with --listen'],
  ])('%j is refused', (words, why) => {
    expect(refused(...words)).toBe(why)
  })
})

describe('sockets as variables', () => {
  it('are in the words of systemd and of Server::Starter', () => {
    const sockets = [
      { name: 'http', address: inet('tcp', null, 80) },
      { name: null, address: inet('udp', null, 53) },
      { name: null, address: { kind: 'unix', path: '/run/a.sock' } as const },
      { name: 'six', address: inet('tcp', '::1', 80) },
      { name: null, address: inet('tcp', '127.0.0.1', 81) },
    ]
    expect(listenVariables(sockets, 7)).toEqual({
      LISTEN_FDS: '5',
      LISTEN_FDNAMES: 'http:unknown:unknown:six:unknown',
      SERVER_STARTER_PORT: '80=3;/run/a.sock=5;[::1]:80=6;127.0.0.1:81=7',
      SERVER_STARTER_GENERATION: '7',
    })
  })

  it.each([
    [{}, []],
    [{ LISTEN_PID: '1', LISTEN_FDNAMES: 'a' }, []],
    [{ LISTEN_FDS: '2' }, [`LISTEN_PID is missing, and this is process ${process.pid}`]],
    [{ LISTEN_FDS: '2', LISTEN_PID: '1' }, [`LISTEN_PID is 1, and this is process ${process.pid}`]],
    [{ LISTEN_FDS: '-2', LISTEN_PID: String(process.pid) }, ['LISTEN_FDS is "-2"']],
    [{ LISTEN_FDS: '99999', LISTEN_PID: String(process.pid) }, ['LISTEN_FDS is "99999"']],
  ])('%j: taken away whatever they say', (given, refusals) => {
    const env = { ...given, OTHER: 'stays' }
    expect(takeListenFds(env)).toEqual({ sockets: [], stored: [], refused: refusals })
    expect(env).toEqual({ OTHER: 'stays' })
  })
})
