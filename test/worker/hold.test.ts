import { get } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { FakeLauncher } from '../support/fake-launcher'
import { freePort } from '../support/ports'
import { fixture } from '../support/program'

let launcher: FakeLauncher
afterEach(() => launcher.end())

const ask = (port: number, path = '/'): Promise<string> =>
  new Promise((done, fail) => {
    get({ port, path, agent: false }, (response) => {
      let text = ''
      response.on('data', (data) => {
        text += data
      })
      response.on('end', () => done(text))
    }).on('error', (error: NodeJS.ErrnoException) => done(error.code ?? ''))
  })

test('an http server is held, admitted, paused, resumed and drained', async () => {
  launcher = new FakeLauncher()
  const port = await freePort()
  const program = launcher.node(fixture('http.cjs'), [port])
  const worker = await launcher.worker()
  await worker.report('listening')
  expect(JSON.parse(await program.line('listening'))).toEqual({ address: '::', family: 'IPv6', port })
  expect(await ask(port)).toBe('ECONNREFUSED')

  launcher.listen()
  await worker.order({ type: 'admit' })
  expect(await ask(port)).toBe(String(program.pid))

  expect(await worker.order({ type: 'pause' })).toEqual({ connections: 0 })
  const waiting = ask(port)
  await worker.order({ type: 'resume' })
  expect(await waiting).toBe(String(program.pid))

  await worker.order({ type: 'drain', deadlineMs: 5000, last: false })
  expect((await worker.report('drained')).outcome).toEqual({ ended: 0, closed: 0, cut: 0 })
  program.child.kill('SIGTERM')
  expect(await program.ended).toEqual({ code: null, signal: 'SIGTERM' })
})
