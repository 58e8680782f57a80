import { createRequire } from 'node:module'
import { isIP } from 'node:net'
import fc from 'fast-check'
import { expect } from 'vitest'
import type * as http from '../../src/cli/http-address'
import type * as options from '../../src/cli/launcher-options'
import type * as listen from '../../src/cli/listen'
import type * as table from '../../src/cli/option-table'
import type * as parse from '../../src/cli/parse'
import type { ReuseportError } from '../../src/errors'
import type * as activation from '../../src/launcher/listen-fds'
import type * as names from '../../src/launcher/service/stored-name'
import { addressOfKey, listenerKey } from '../../src/protocol'
import { anyText, fuzz } from '../support/fuzz'

// What is built: it loads some of its parts by require.
const built = createRequire(import.meta.url)
const { httpAddress } = built('../../dist/cli/http-address.js') as typeof http
const { listenOption } = built('../../dist/cli/listen.js') as typeof listen
const { launcherOptions } = built('../../dist/cli/launcher-options.js') as typeof options
const { parseCommandLine } = built('../../dist/cli/parse.js') as typeof parse
const { OPTIONS } = built('../../dist/cli/option-table.js') as typeof table
const { takeListenFds } = built('../../dist/launcher/listen-fds.js') as typeof activation
const { parseStoredName, storedName } = built('../../dist/launcher/service/stored-name.js') as typeof names

/** undefined: refused, as everything of the user's is. */
function orUsage<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_(USAGE|USER)$/), next: expect.stringMatching(/./) })
    expect((error as ReuseportError).message).not.toBe('')
    return undefined
  }
}

const anyPort = fc.integer({ min: 1, max: 65_535 })
const port = fc.oneof({ arbitrary: anyPort, weight: 4 }, fc.constantFrom(0, 65_536, '080', '1e3', '-1', '', ' 80'))
const host = fc.oneof(
  fc.ipV4(),
  fc.ipV6().map((ip) => `[${ip}]`),
  fc.ipV4Extended(),
  fc.constantFrom('*', '', 'localhost', '[::]', '0.0.0.0', '[::ffff:127.0.0.1]', '[fe80::1%lo]', '127.1', '0', '::1'),
  anyText,
)
const colon = fc.oneof({ arbitrary: fc.constant(':'), weight: 5 }, fc.constantFrom('', '::'))
const written = fc.tuple(host, colon, port).map((parts) => parts.join(''))

fuzz(
  'addresses',
  'one that is accepted is no wider than it was written, and means the same when it is read again',
  fc.record({
    kind: fc.constantFrom('tcp', 'tcp', 'udp', 'unix', 'fd', 'TCP', ''),
    where: fc.oneof({ arbitrary: written, weight: 4 }, anyText),
    name: fc.option(anyText, { freq: 2 }),
  }),
  ({ kind, where, name }) => {
    const option = orUsage(() => listenOption(`${name === null ? '' : `${name}=`}${kind}:${where}`))
    if (option !== undefined && typeof option.from !== 'string') {
      const { from } = option
      const key = listenerKey(from)
      expect(addressOfKey(key)).toEqual(from)
      expect(listenOption(key.replace(' ', ':'))).toEqual({ name: null, from })
      // Every address only where no host, or a star, was written.
      if (from.kind !== 'unix' && from.host === null) expect(where).toMatch(/^(\*:)?\d+$/)
      if (from.kind !== 'unix' && from.host !== null) expect(where).toContain(from.host)
    }
    const address = orUsage(() => httpAddress(where, 'metrics'))
    if (address === undefined || address.kind === 'unix') return
    if (address.host === null) expect(where).toMatch(/^\*:/)
    else if (address.host !== '127.0.0.1') expect(where).toContain(address.host)
    else expect(where).toMatch(/^(127\.0\.0\.1|localhost)?:?\d+$/)
    if (address.host !== null) expect(isIP(address.host)).not.toBe(0)
  },
)

const word = anyText.map((text) => text.slice(0, 200))
const value = fc.oneof(
  fc.constantFrom(
    '0',
    '1',
    '2',
    '1024',
    'max',
    '30s',
    '5ms',
    '10%',
    '512M',
    'all',
    'text',
    'json',
    'GET',
    'GET /',
    '/x',
    '3000,3001',
  ),
  fc.constantFrom(
    '1025',
    '-1',
    '1.5',
    '1e9',
    '25d',
    '101%',
    '0M',
    'A: b',
    'A:\r\nB: c',
    'SIGTERM',
    'SIGKILL',
    '__proto__',
  ),
  written,
  word,
)
const pair = fc
  .tuple(fc.constantFrom(...OPTIONS), value)
  .map(([row, given]) => (row.value === undefined ? [`--${row.name}`] : [`--${row.name}`, given]))
const odd = fc
  .oneof(
    fc.constantFrom(
      '-n',
      '-h',
      '-V',
      '--__proto__',
      '--constructor',
      '--no-',
      '-',
      '--user=root',
      '--toString=1',
      'start',
      'reload',
    ),
    word,
  )
  .map((one) => [one])
const command = fc.constantFrom(['--', 'node', 'app.js'], ['node', 'app.js'], ['--'], [])

fuzz(
  'command-line',
  'any words are refused with what to do, or are options within their bounds',
  fc
    .tuple(fc.array(fc.oneof({ arbitrary: pair, weight: 8 }, odd), { maxLength: 4 }), command)
    .map(([options, program]) => [...options.flat(), ...program]),
  (given) => {
    const line = orUsage(() => parseCommandLine(given))
    if (line?.verb !== 'start') return
    const made = orUsage(() => launcherOptions(line, '/srv/app'))
    if (made === undefined) return
    expect(made.command).toEqual(line.command)
    expect(made.command.length).toBeGreaterThan(0)
    expect(made.name).toMatch(/^[A-Za-z0-9._-]{1,64}$/)
    expect(made.workers).toBeGreaterThanOrEqual(1)
    expect(made.workers).toBeLessThanOrEqual(1_024)
    for (const [name, one] of Object.entries(made))
      if (typeof one === 'number') expect({ name, isOne: one >= 0 && one < 2 ** 41 }).toEqual({ name, isOne: true })
    // It can be put down for the next launcher.
    expect(JSON.parse(JSON.stringify(made))).toMatchObject({ name: made.name, workers: made.workers })
  },
)

const own = fc.record({
  listener: fc.constantFrom('tcp *:80', 'unix /a b:c%', 'udp [::1]:5'),
  slot: fc.nat(9_999),
  index: fc.nat(9_999),
})

fuzz('stored-names', 'a name is what was stored by it, or nobody’s', fc.oneof(own, anyText), (input) => {
  if (typeof input !== 'string') return expect(parseStoredName(storedName(input) as string)).toEqual(input)
  const found = parseStoredName(input)
  if (found !== null) expect(Object.keys(found).sort()).toEqual(['index', 'listener', 'slot'])
})

const given = built('../../dist/given-socket.js') as { addressOfGiven: unknown; takeGiven: unknown }
fuzz(
  'listen-fds',
  'of the descriptors that are said to be given those are looked at, and no other; the variables go no further (F-10, S-18)',
  fc.record({
    pid: fc.oneof(fc.constant(String(process.pid)), anyText),
    count: fc.oneof(
      fc.nat({ max: 50 }).map(String),
      fc.constantFrom('-1', '1e9', '00', '99999', '0x3', '3 ', '٣'),
      anyText,
    ),
    names: fc.option(
      fc
        .array(
          fc.oneof(
            own.map((name) => storedName(name) as string),
            anyText,
          ),
        )
        .map((all) => all.join(':')),
    ),
    bad: fc.array(fc.nat({ max: 60 })),
  }),
  ({ pid, count, names, bad }) => {
    const seen: number[] = []
    given.addressOfGiven = (fd: number) => {
      seen.push(fd)
      if (bad.includes(fd)) throw new Error('it is no socket')
      return { address: { kind: 'tcp', host: null, port: 80, ipv6Only: false }, keys: ['tcp *:80'] }
    }
    const taken: number[] = []
    given.takeGiven = (fd: number) => taken.push(fd) + 100
    const env: NodeJS.ProcessEnv = {
      LISTEN_PID: pid,
      LISTEN_FDS: count,
      LISTEN_FDNAMES: names ?? undefined,
      OTHER: 'kept',
    }
    const { sockets, stored, refused } = takeListenFds(env)
    expect(env).toEqual({ OTHER: 'kept' })
    const isOurs = pid === String(process.pid) && /^[1-9]\d{0,3}$/.test(count)
    expect(seen).toEqual(isOurs ? Array.from({ length: Number(count) }, (_, index) => index + 3) : [])
    expect(new Set(taken).size).toBe(taken.length)
    for (const fd of taken) expect(seen).toContain(fd)
    expect(sockets.length + stored.length).toBe(taken.length)
    expect(refused.length).toBe(isOurs ? seen.length - taken.length : 1)
  },
)
