import { describe, expect, it } from 'vitest'
import { launcherOptions } from '../../src/cli/launcher-options.js'
import { parseCommandLine } from '../../src/cli/parse.js'
import { HEALTH_DEFAULTS, WARMUP_DEFAULTS } from '../../src/options.js'

const optionsOf = (...words: string[]) => launcherOptions(parseCommandLine([...words, '--', 'node', 'app.js']), '/srv')
const refused = (...words: string[]): string => {
  try {
    optionsOf(...words)
  } catch (error) {
    return (error as Error).message
  }
  return 'taken'
}

describe('the health check on the command line', () => {
  it('is none without --health, and its parts are refused then', () => {
    expect(optionsOf().health).toBe(undefined)
    expect(refused('--health-status', '200')).toBe('--health-status needs --health')
    expect(refused('--liveness', '5s')).toBe('--liveness needs --health')
  })

  it('has defaults for all but the path', () => {
    expect(optionsOf('--health', '/healthz?deep=1').health).toEqual({
      ...HEALTH_DEFAULTS,
      kind: 'http',
      target: '/healthz?deep=1',
    })
    expect(optionsOf('--health', 'tcp').health).toEqual({ ...HEALTH_DEFAULTS, kind: 'tcp', target: '/' })
  })

  it('may be a command', () => {
    expect(optionsOf('--health-command', 'curl -f --unix-socket $HEALTH_SOCKET http://x/').health).toEqual({
      ...HEALTH_DEFAULTS,
      kind: 'command',
      target: 'curl -f --unix-socket $HEALTH_SOCKET http://x/',
    })
  })

  it('can be worded in full', () => {
    const words = [
      '--health=/up',
      '--health-port=9090',
      '--health-host=shop.example:8080',
      '--health-status=200-204,304',
    ]
    const times = ['--health-timeout=2s', '--health-interval=100ms', '--liveness=10s']
    const counts = ['--health-successes=1', '--health-failures=5']
    const headers = ['--health-header', 'X-One: 1', '--health-header', 'X-Two:  a: b ']
    expect(optionsOf(...words, ...times, ...counts, ...headers).health).toEqual({
      kind: 'http',
      target: '/up',
      port: 9090,
      host: 'shop.example:8080',
      headers: [
        ['X-One', '1'],
        ['X-Two', 'a: b'],
      ],
      statuses: [
        [200, 204],
        [304, 304],
      ],
      timeoutMs: 2_000,
      intervalMs: 100,
      livenessMs: 10_000,
      successes: 1,
      failures: 5,
    })
  })

  it.each([
    [['--health', 'healthz'], '--health "healthz" is neither a path nor tcp'],
    [['--health', '/a b'], '--health "/a b" is neither a path nor tcp'],
    [['--health', '/a\r\nX: y'], '--health "/a\\r\\nX: y" is neither a path nor tcp'],
    [['--health', '/', '--health-port', '0'], '--health-port "0": "0" is no port'],
    [['--health', '/', '--health-port', '1,2'], '--health-port "1,2": one port is asked'],
    [['--health', '/', '--health-host', 'a b'], '--health-host "a b" is no host'],
    [['--health', '/', '--health-status', '99'], '--health-status "99" is no status'],
    [['--health', '/', '--health-status', '300-200'], '--health-status "300-200" is no status'],
    [['--health', '/', '--health-successes', '0'], '--health-successes "0" is no number of at least 1'],
    [['--health', '/', '--health-timeout', 'soon'], '--health-timeout "soon" is no time'],
    [['--health', '/', '--health-command', 'true'], '--health and --health-command are two checks: give one'],
    [['--health-command', 'true', '--health-status', '200'], '--health-status belongs to --health PATH'],
    [['--health', 'tcp', '--health-header', 'A: b'], '--health-header belongs to --health PATH'],
    [['--health', '/', '--health-interval', '0'], '--health-interval "0" is too short'],
    [['--health', '/', '--liveness', '9ms'], '--liveness "9ms" is too short'],
    [['--ready', 'soon'], '--ready "soon" is none of listening, message, notify, alive:TIME'],
  ])('%j is refused', (words, message) => {
    expect(refused(...words)).toBe(message)
  })

  it('never says the value of a header: it may be a secret (E-06, J-09, S-12)', () => {
    expect(refused('--health', '/', '--health-header', 'X Token: abc123')).toBe(
      '--health-header "X Token" is no header',
    )
    expect(refused('--health', '/', '--health-header', 'X-Token: abc\n123')).toBe(
      '--health-header "X-Token" is no header',
    )
  })
})

describe('the other options of a start', () => {
  it('say what ready is, and where the environment comes from', () => {
    expect(optionsOf()).toMatchObject({ ready: 'listening', envFiles: [] })
    expect(optionsOf('--ready', 'notify', '--env-file', 'a', '--env-file=b')).toMatchObject({
      ready: 'notify',
      envFiles: ['a', 'b'],
    })
  })
})

describe('the warm-up on the command line', () => {
  it('is none unless it is asked for, and its parts are refused then', () => {
    expect(optionsOf().warmup).toBe(undefined)
    expect(refused('--warmup-timeout', '5s')).toBe('--warmup-timeout needs --warmup')
  })

  it('is a number of requests, and the paths that are asked for in turns', () => {
    const { port, host, headers } = HEALTH_DEFAULTS
    expect(optionsOf('--warmup', '500:/').warmup).toEqual({
      ...WARMUP_DEFAULTS,
      ...{ requests: 500, paths: ['/'], port, host, headers },
    })
    const more = [
      '--warmup-concurrency',
      '8',
      '--warmup-timeout',
      '30s',
      '--health',
      '/',
      '--health-host',
      'shop.example',
    ]
    expect(optionsOf('--warmup', '9:/a,/b?c=d', ...more).warmup).toEqual({
      ...{ requests: 9, paths: ['/a', '/b?c=d'], concurrency: 8, timeoutMs: 30_000 },
      ...{ port, host: 'shop.example', headers },
    })
  })

  it.each(['500', ':/', '0:/', '500:', '500:a', '500:/a,', '500:/ b', '1e3:/'])('%s is refused', (given) => {
    expect(refused('--warmup', given)).toMatch(/^--warmup "/)
  })

  it('has its limits', () => {
    expect(refused('--warmup', '5:/', '--warmup-concurrency', '65')).toBe('--warmup-concurrency 65 is more than 64')
    expect(refused('--warmup', '5:/', '--listen', 'tcp:3000')).toBe('--warmup has no effect with --listen')
  })
})
