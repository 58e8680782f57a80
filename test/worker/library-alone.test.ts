import { Agent, get } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { temporaryDirectory } from '../support/launcher.js'
import { freePort } from '../support/ports.js'
import { listeningInodes } from '../support/processes.js'
import { until } from '../support/until.js'
import { type Ask, askH2, askH2c, askHttp, askHttps, askNet, askUnix } from '../support/worker/clients.js'
import { fixture, Program, TEST_NODE } from '../support/worker/program.js'

/*
 * listenReusePort without a launcher.
 */

const programs: Program[] = []
afterEach(async () => {
  for (const program of programs.splice(0)) await program.kill()
})

function start(file: string, ...argv: readonly (string | number)[]): Program {
  const program = new Program([TEST_NODE, fixture(file), ...argv.map(String)])
  programs.push(program)
  return program
}

test.each([
  ['library.cjs', 'http', askHttp],
  ['library.mjs', 'http', askHttp],
  ['library.cjs', 'https', askHttps],
  ['library.cjs', 'h2', askH2],
  ['library.cjs', 'h2c', askH2c],
  ['library.cjs', 'net', askNet],
  ['library.cjs', 'fastify', askHttp],
] as readonly [string, string, Ask][])('%s with %s listens, and ready() is nothing', async (file, kind, ask) => {
  const port = await freePort()
  const program = start(file, port, kind)
  expect(JSON.parse(await program.line('listening'))).toEqual({
    address: { address: '::', family: 'IPv6', port },
    inherited: 'none',
    generation: null,
  })
  expect(await ask(port)).toBe(String(program.pid))
  program.child.kill('SIGUSR2')
  expect(await ask(port)).toBe(String(program.pid))
})

/** listen() of the Node under test knows `reusePort`. */
async function knowsReusePort(): Promise<boolean> {
  const script = 'const [a, b] = process.versions.node.split("."); console.log("knows", a > 23 || (a == 22 && b > 11))'
  const program = new Program([TEST_NODE, '-e', script])
  programs.push(program)
  return (await program.line('knows')) === 'true'
}

test('processes share the port where Node can do that, and are told where it cannot', async () => {
  const port = await freePort()
  const first = start('library.cjs', port)
  await first.line('listening')
  const second = start('library.cjs', port)
  if (await knowsReusePort()) {
    await second.line('listening')
    expect(listeningInodes(port)).toHaveLength(2)
    expect([...first.errors, ...second.errors]).toEqual([])
  } else {
    expect(await second.line('failed')).toBe('EADDRINUSE')
    expect(first.errors.join()).toMatch(/\[REUSEPORT_RUN_PLAIN_LISTEN\] Warning: .* cannot set SO_REUSEPORT/)
  }
})

test('on another system it is a plain listen, with one warning', async () => {
  const program = start('library-cases.cjs', 'elsewhere')
  expect(await program.ended).toEqual({ code: 0, signal: null })
  expect(program.lines.filter((line) => line === 'listening none null')).toHaveLength(2)
  expect(program.lines.filter((line) => line.startsWith('warning'))).toEqual([
    'warning REUSEPORT_RUN_PLAIN_LISTEN listenReusePort: SO_REUSEPORT is used on Linux only, and this is darwin; this is a plain listen()',
  ])
})

test('children of node:cluster share what their primary listens on', async () => {
  const port = await freePort()
  const program = start('library-cases.cjs', 'cluster', port)
  await until('both children', () => program.lines.length === 2)
  expect(program.lines.map((line) => line.split(' ')[0])).toEqual(['child', 'child'])
  expect(listeningInodes(port)).toHaveLength(1)
})

test.each([
  ['bad port', 'ERR_SOCKET_BAD_PORT'],
  ['no port', 'ERR_INVALID_ARG_VALUE'],
  ['no such name', expect.stringMatching(/^E/)],
  ['closed at once', 'the server was closed before it listened'],
])('%s: it rejects', async (name, code) => {
  const program = start('library-cases.cjs', name, await freePort())
  expect(await program.line('failed')).toEqual(code)
  expect(await program.line('as before')).toBe('true')
  expect(await program.ended).toEqual({ code: 0, signal: null })
  expect(program.errors.filter((line) => !/REUSEPORT_RUN_PLAIN_LISTEN|--trace-warnings/.test(line))).toEqual([])
})

test('a launcher that cannot be told who is ready is not taken for none', async () => {
  const program = start('library-cases.cjs', 'other launcher', await freePort())
  expect(await program.line('failed')).toBe('ERR_PROTOCOL')
  expect(await program.line('listens')).toBe('false')
})

test('the options are those of listen(), and a closed listener is disposed of', async () => {
  const port = await freePort()
  const program = start('library-cases.cjs', 'all options', port)
  expect(JSON.parse(await program.line('listening'))).toEqual({ address: '::1', family: 'IPv6', port })
  expect(await program.line('closed')).toBe('false')
  expect(await program.ended).toEqual({ code: 0, signal: null })
})

test('a path is listened on as Node does', async () => {
  const path = `${temporaryDirectory()}/app.sock`
  const program = start('library-cases.cjs', 'path', path)
  expect(await program.line('listening')).toBe(path)
  expect(await askUnix(path)).toBe(String(program.pid))
  expect(program.errors).toEqual([])
})

test('close() answers what has been asked, and says on the way which answer is the last', async () => {
  const port = await freePort()
  const program = start('library.cjs', port)
  await program.line('listening')
  // One connection: what is asked second comes after the begin of the close.
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const ask = (path: string): Promise<{ last: boolean; text: string }> =>
    new Promise((done, fail) => {
      get({ port, path, agent }, async (response) => {
        let text = ''
        for await (const chunk of response) text += chunk
        done({ last: response.headers.connection === 'close', text })
      }).on('error', fail)
    })
  const held = ask('/held')
  await program.line('held')
  program.child.kill('SIGUSR1')
  await until('nobody listens', () => listeningInodes(port).length === 0)
  program.child.kill('SIGHUP')
  expect(await held).toEqual({ last: false, text: 'held' })
  expect(await ask('/')).toEqual({ last: true, text: String(program.pid) })
  await program.line('closed')
  await program.line('event closed [{"hasSuccessor":false}]')
  await program.line('drained {"moved":0,"ended":0,"closed":0,"cut":0}')
  expect(await program.ended).toEqual({ code: 0, signal: null })
})

test('it listens on what systemd has given, by address or name, and on the address where there is nothing', async () => {
  const [web, local, free] = [await freePort(), await freePort(), await freePort()]
  const path = `${temporaryDirectory()}/app.sock`
  const listens = [
    { port: web },
    { port: local },
    { port: 0, host: '127.0.0.1', fdName: 'local' },
    { port: free, fdName: 'other' },
    { path },
    { port: free, host: '127.0.0.1' },
  ]
  const words = [`--listen=${web}`, `--listen=127.0.0.1:${local}`, `--listen=${path}`, '--fdname=web:local:']
  const node = [TEST_NODE, fixture('library-cases.cjs'), 'given', JSON.stringify(listens)]
  const program = new Program(['systemd-socket-activate', ...words, ...node])
  programs.push(program)
  // It is started by its first client.
  await until('it listens', () => listeningInodes(web).length === 1)
  const first = askHttp(web)
  await program.line('done')
  expect(program.lines).toEqual([
    `got activation ${web}`,
    // Every address is another one.
    'got EADDRINUSE',
    `got activation ${local}`,
    'got ERR_ADDRESS',
    `got activation "${path}"`,
    `got none ${free}`,
    'done 3',
  ])
  expect(await first).toBe(String(program.pid))
  expect(await askUnix(path)).toBe(String(program.pid))

  // A process that the variables are not meant for listens by itself.
  const stranger = new Program(node, { LISTEN_PID: '1', LISTEN_FDS: '3', LISTEN_FDNAMES: 'web:local:' })
  programs.push(stranger)
  await stranger.line('done')
  expect(stranger.lines.filter((line) => line.startsWith('got activation'))).toEqual([])
})
