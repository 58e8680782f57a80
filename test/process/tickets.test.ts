import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { expect, test } from 'vitest'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'

interface Visit {
  readonly pid: string
  readonly keys: Buffer
  readonly isReused: boolean
  readonly session: Buffer
}

/** One request, with the ticket of another one if there is one; a new ticket is waited for. */
function visit(port: number, session?: Buffer): Promise<Visit> {
  return new Promise((done, fail) => {
    // Of 1.2 a ticket comes with the handshake, and only if the one that was shown is not taken.
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' } as const
    const socket = connect({ ...options, ...(session && { session }) }, () =>
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    )
    let text = ''
    socket.setEncoding('latin1')
    socket.on('data', (data) => (text += data))
    socket.once('error', fail)
    socket.once('end', () => {
      const [pid, keys] = (text.split('\r\n\r\n')[1] as string).split(' ') as [string, string]
      const isReused = socket.isSessionReused()
      done({ pid, keys: Buffer.from(keys, 'hex'), isReused, session: socket.getSession() as Buffer })
    })
  })
}

/** One ticket before a reload, shown to the same version and to the next one. */
async function tickets(secret: readonly string[]): Promise<{ launcher: TestLauncher; visits: Visit[] }> {
  const port = await freePort()
  const launcher = await startLauncher({ command: ['node', fixture('servers/tickets.cjs'), String(port), ...secret] })
  const first = await visit(port)
  const second = await visit(port, first.session)
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  const third = await visit(port, first.session)
  expect([first, second].map(({ pid }) => pid)).not.toContain(third.pid)
  return { launcher, visits: [first, second, third] }
}

test('the keys of TLS tickets are each process’s own: the next version makes a full handshake, and no file of the launcher has them (N-09, S-13)', async () => {
  const { launcher, visits } = await tickets([])
  expect(visits.map(({ isReused }) => isReused)).toEqual([false, true, false])
  expect(visits[2]?.keys).not.toEqual(visits[0]?.keys)
  const names = readdirSync(launcher.runtimeDir, { recursive: true }).map(String)
  const files = names.map((name) => join(launcher.runtimeDir, name)).filter((path) => statSync(path).isFile())
  expect(files).toContain(join(launcher.directory, 'notes'))
  const texts = [...files.map((path) => readFileSync(path)), Buffer.from(launcher.story)]
  // Name, HMAC and AES: 16 bytes each.
  for (const { keys } of visits)
    for (const part of [keys.subarray(0, 16), keys.subarray(16, 32), keys.subarray(32)])
      for (const form of [part, part.toString('hex'), part.toString('base64').slice(0, 20)])
        expect(texts.some((text) => text.includes(form))).toBe(false)
  await launcher.stop()
})

test('a program that sets its ticketKeys takes its tickets again after a reload (N-09)', async () => {
  const { launcher, visits } = await tickets(['secret'])
  expect(visits.map(({ isReused }) => isReused)).toEqual([false, true, true])
  await launcher.stop()
})
