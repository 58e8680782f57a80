import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { checkKernel, checkSettings } from '../../src/doctor/kernel'
import { checkDescriptors } from '../../src/doctor/limits'
import { checkRuntimeDir } from '../../src/doctor/place'
import { checkAddon, checkLibc, checkNode } from '../../src/doctor/platform'
import { checkPorts } from '../../src/doctor/ports'
import { checkProgram } from '../../src/doctor/program'
import { systemdVersion } from '../../src/doctor/systemd'
import { type UnitFacts, unitOf } from '../../src/doctor/unit'
import { ReuseportError } from '../../src/errors'
import type { Native } from '../../src/native'
import { temporaryDirectory } from '../support/launcher'
import { ROOT } from '../support/paths'

/** Files below a root of their own: path → text. */
function root(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory()
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(directory, path, '..'), { recursive: true })
    writeFileSync(join(directory, path), text, { mode: 0o755 })
  }
  return directory
}

/** A kernel that can everything but one call. */
function kernelWithout(refused: keyof Native, code: string): Native {
  const can = { localAddress: () => ({ port: 4711 }), socketPair: () => [1, 2], socket: () => 1, pidfdOpen: () => 1 }
  return new Proxy({} as Native, {
    get: (_, name) =>
      name === refused
        ? () => {
            throw Object.assign(new Error(code), { code })
          }
        : ((can as Record<string | symbol, unknown>)[name] ?? (() => 1)),
  })
}

const levels = (findings: readonly { check: string; level: string }[]): Record<string, string> =>
  Object.fromEntries(findings.map(({ check, level }) => [check, level]))

test('what the kernel refuses is told by what it means (M-04, M-05, M-10)', () => {
  expect(levels(checkKernel(kernelWithout('setOption', 'ENOPROTOOPT')))).toMatchObject({ reuseport: 'fail' })
  expect(levels(checkKernel(kernelWithout('attachSteering', 'EPERM')))).toMatchObject({
    reuseport: 'ok',
    steering: 'warn',
    pidfd: 'ok',
  })
  expect(levels(checkKernel(kernelWithout('pidfdOpen', 'ENOSYS')))).toMatchObject({ pidfd: 'fail' })
  expect(checkKernel(kernelWithout('peerPidfd', 'ENOPROTOOPT')).at(-1)).toMatchObject({
    level: 'ok',
    text: expect.stringContaining('6.5'),
  })
})

test('settings and limits that would be noticed by clients (F-08)', () => {
  const small = root({
    'proc/sys/net/core/somaxconn': '128\n',
    'proc/sys/net/core/rmem_max': '212992\n',
    'proc/sys/net/ipv4/tcp_migrate_req': '1\n',
    'proc/self/limits':
      'Limit  Soft Limit Hard Limit Units\nMax open files            1024                 1024                 files\n',
  })
  expect(levels(checkSettings({ root: small, isUdp: true }))).toEqual({
    somaxconn: 'warn',
    rmem_max: 'warn',
    tcp_migrate_req: 'ok',
  })
  expect(levels(checkSettings({ root: small }))).not.toHaveProperty('rmem_max')
  expect(checkDescriptors(small)).toMatchObject([{ level: 'warn', text: expect.stringContaining('1024 per process') }])
  expect(checkSettings({ root: '/nowhere' })).toEqual([])
  expect(checkDescriptors('/nowhere')).toEqual([])
})

test('the platform', () => {
  expect(['v20.18.3', 'v18.20.0', 'v20.19.0', 'v26.1.0'].map((version) => checkNode(version).level)).toEqual([
    'fail',
    'fail',
    'ok',
    'ok',
  ])
  expect(checkLibc(undefined).level).toBe('warn')
  const missing = new ReuseportError('ERR_ADDON_NOT_FOUND', 'There is no addon', { next: 'Build it here' })
  const { finding, native } = checkAddon(() => {
    throw missing
  })
  expect([finding.level, finding.next, native]).toEqual(['fail', 'Build it here', null])
  expect(systemdVersion('/no/such/systemctl')).toBeNull()
  const systemctl = join(root({ systemctl: "#!/bin/sh\necho 'systemd 255 (255.4-1)'\n" }), 'systemctl')
  expect(systemdVersion(systemctl)).toBe(255)
})

test.each([
  ['npm start', { wrapper: 'warn', cluster: undefined }],
  ['sh -c node\\ app.js', { wrapper: 'warn' }],
  ['sh -c exec\\ node\\ app.js', { wrapper: undefined }],
  ['nodemon app.js', { wrapper: 'warn' }],
  ['pm2-runtime app.js', { wrapper: 'fail' }],
  ['bun app.js', { 'program-node': 'fail' }],
  ['node --permission app.js', { permission: 'fail' }],
  ['node --permission --allow-addons app.js', { permission: undefined }],
  ['node app.js', { program: 'ok', wrapper: undefined, permission: undefined, cluster: undefined }],
  ['node --enable-source-maps forks', { cluster: 'warn' }],
  ['nodde app.js', { program: 'fail' }],
  ['native app.js', { program: 'ok', 'program-node': undefined }],
])('the program: %s (J-06)', (words, expected) => {
  const script = '#!/bin/sh\n'
  const tools = Object.fromEntries(['npm', 'nodemon', 'pm2-runtime', 'bun'].map((name) => [`bin/${name}`, script]))
  const directory = root({
    ...tools,
    'bin/native': '\x7fELF',
    'package.json': JSON.stringify({ scripts: { start: 'node --enable-source-maps app.js' } }),
    'app.js': "const cluster = 'cluster'\n",
    'forks.mjs': "import cluster from 'node:cluster'\n",
  })
  const command = words.split(/(?<!\\) /).map((word) => word.replaceAll('\\ ', ' '))
  const before = process.env['PATH']
  process.env['PATH'] = `${join(directory, 'bin')}:${before}`
  try {
    const findings = checkProgram({ command, directory, envFiles: [], isGiven: false })
    for (const [check, level] of Object.entries(expected)) expect(levels(findings)[check], check).toBe(level)
    if (command[0] === 'npm')
      expect(findings.find(({ check }) => check === 'wrapper')?.next).toContain('-- node --enable-source-maps app.js')
  } finally {
    process.env['PATH'] = before
  }
})

test('another Node that is too old', () => {
  const directory = root({ 'bin/node': '#!/bin/sh\necho v18.20.4\n' })
  const command = [join(directory, 'bin', 'node'), 'app.js']
  const findings = checkProgram({ command, directory, envFiles: [], isGiven: false })
  expect(findings.find(({ check }) => check === 'program-node')).toMatchObject({
    level: 'fail',
    text: expect.stringContaining('v18.20.4'),
  })
})

test('a port of somebody else, one of our own, a free one', () => {
  const sockets = [3000, 3001].map((port, index) => ({
    family: 4 as const,
    address: '00000000',
    port,
    inode: String(index + 1),
  }))
  expect(checkPorts([3000, 3001, 3002], [1], sockets).map(({ level }) => level)).toEqual(['ok', 'fail', 'ok'])
  expect(checkPorts([]).map(({ level }) => level)).toEqual(['ok'])
})

test('the runtime directory is tried, and left as it was', () => {
  const directory = temporaryDirectory()
  expect(checkRuntimeDir('shop', join(directory, 'a', 'b'))).toMatchObject({
    level: 'ok',
    text: join(directory, 'a', 'b', 'shop'),
  })
  expect(readdirSync(directory)).toEqual([])
  expect(checkRuntimeDir('x'.repeat(64), join(directory, 'y'.repeat(64)))).toMatchObject({ level: 'fail' })
  mkdirSync(join(directory, 'shop'))
  chmodSync(join(directory, 'shop'), 0o755)
  expect(checkRuntimeDir('shop', directory)).toMatchObject({
    level: 'fail',
    text: expect.stringContaining('open to others'),
  })
  expect(readdirSync(directory)).toEqual(['shop'])
})

const shop: UnitFacts = {
  name: 'shop',
  directory: '/srv/shop/current',
  user: 'shop',
  program: ['/usr/local/bin/reuseport-run'],
  options: ['-n', '2', '--health', '/healthz'],
  command: ['node', 'app.js'],
  environment: { NODE_ENV: 'production' },
  runtimeDir: undefined,
  workers: 2,
}

test.each([
  ['shop.service', 254],
  ['shop-systemd-252.service', 252],
])('a unit: %s is what it prints', (file, version) => {
  expect(unitOf(shop, version)).toBe(readFileSync(join(ROOT, 'examples', 'systemd', file), 'utf8'))
})

test('a unit: what means something to systemd is written so that it does not', () => {
  const facts = {
    ...shop,
    user: null,
    command: ['node', 'my app.js', '$HOME', '50%', 'a"b'],
    environment: { A: 'b c' },
  }
  const lines = unitOf({ ...facts, runtimeDir: '/run/x y', workers: 20 }, 252).split('\n')
  expect(lines).toContain(
    'ExecStart=/usr/local/bin/reuseport-run --name shop -n 2 --health /healthz -- node "my app.js" $$HOME 50%% "a\\"b"',
  )
  expect(lines).toContain('ExecReload=/usr/local/bin/reuseport-run reload --name shop --runtime-dir "/run/x y"')
  expect(lines).toContain('Environment=PWD=/srv/shop/current "A=b c"')
  expect(lines).toContain('FileDescriptorStoreMax=160')
  expect(lines.filter((line) => line.startsWith('User='))).toEqual([])
})
