import { readFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { Verdict } from '../../src/control-protocol'
import { ask } from '../support/clients'
import { startLauncher, type TestLauncher, temporaryDirectory } from '../support/launcher'
import { ROOT } from '../support/paths'
import { freePort } from '../support/ports'
import { signal } from '../support/processes'
import { until } from '../support/until'

const fixture = (name: string): string => join(ROOT, 'test', 'fixtures', name)

async function endless(...options: string[]): Promise<{ launcher: TestLauncher; port: number }> {
  const port = await freePort()
  const command = ['node', fixture('worker/endless.cjs'), String(port)]
  return { launcher: await startLauncher({ command, options }), port }
}

/** A response that goes on; gives it when it has begun. */
function stream(port: number, path: string): Promise<IncomingMessage> {
  return new Promise((begun, fail) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      response.on('error', () => {})
      response.once('data', () => begun(response))
    }).on('error', fail)
  })
}

describe('what an old worker still has', () => {
  test('is in status while it drains, and in the verdict when it has gone (A-18)', async () => {
    const { launcher, port } = await endless('--drain-timeout', '2500ms', '--websocket', 'keep')
    const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`)
    await new Promise((done) => socket.once('message', done))
    const [cut, events] = [await stream(port, '/chunked?secret=1'), await stream(port, '/events')]
    const [old] = await launcher.pids()

    const verb = launcher.run('reload', '--wait', 'retired')
    const status = await launcher.when(
      'the worker says what it has',
      ({ leaving }) => leaving[0]?.held.sse !== undefined,
    )
    expect(status.leaving).toEqual([
      {
        slot: 0,
        pid: old,
        generation: 1,
        state: 'draining',
        ms: expect.any(Number),
        leftMs: expect.any(Number),
        held: {
          http: { open: 1, oldestMs: expect.any(Number) },
          websocket: { open: 1, oldestMs: expect.any(Number) },
          sse: { open: 1, oldestMs: expect.any(Number) },
        },
      },
    ])
    const { stdout } = await launcher.run('status')
    expect(stdout).toMatch(/slot 0: pid \d+, generation 1, draining for \d+ ms; what is left in \d+ m?s is cut\n/)
    expect(stdout).toMatch(/ {6}1 websocket, the oldest request \d+ m?s old: until it is told to close, and does\n/)

    const ended = await verb
    expect(ended.stdout).toContain('connections: 0 moved, 2 closed (1 websocket, 1 sse), 1 cut (1 http)')
    expect(ended.stdout).toMatch(/ {4}cut: http GET \/chunked, after \d+ m?s, \d+ bytes sent, \d+ received\n/)
    expect((await launcher.status()).leaving).toEqual([])
    expect((await launcher.status()).lastReload).toMatchObject({
      workers: [
        {
          kinds: {
            http: { moved: 0, closed: 0, cut: 1 },
            websocket: { moved: 0, closed: 1, cut: 0 },
            sse: { moved: 0, closed: 1, cut: 0 },
          },
          requests: [{ kind: 'http', method: 'GET', path: '/chunked' }],
          moreRequests: 0,
        },
      ],
    })
    expect(await launcher.event('reload.retired')).toMatchObject({
      moved: 0,
      closed: 2,
      cut: 1,
      kinds: ['http 1 cut', 'websocket 1 closed', 'sse 1 closed'],
    })
    expect([cut.complete, events.complete]).toEqual([false, true])
    await launcher.stop()
  })

  test('WebSockets are told to go, and find the new workers (N-07)', async () => {
    const { launcher, port } = await endless('-n', '2', '--drain-spread', '500ms')
    const codes: number[] = []
    const pids: string[][] = []
    const sockets: WebSocket[] = []
    let isOver = false
    const join = (index: number): void => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`)
      sockets[index] = socket
      socket.once('message', (pid) => pids[index]?.push(String(pid)))
      socket.once('error', (error) => codes.push(error.message as unknown as number))
      socket.once('close', (code) => {
        if (isOver) return
        codes.push(code)
        join(index)
      })
    }
    for (let index = 0; index < 20; index++) {
      pids.push([])
      join(index)
    }
    await until('all are connected', () => pids.every((of) => of.length === 1))
    const verdict = await launcher.reload('retired')
    await until('all are back', () => pids.every((of) => of.length === 2))
    isOver = true
    const now = (await launcher.pids()).map(String)
    expect(codes).toEqual(Array(20).fill(1012))
    expect(pids.filter((of) => !now.includes(of[1] as string))).toEqual([])
    const sum = (key: 'closed' | 'cut'): number =>
      verdict.workers.reduce((total, { kinds }) => total + (kinds.websocket?.[key] ?? 0), 0)
    expect([sum('closed'), sum('cut')]).toEqual([20, 0])
    for (const socket of sockets) socket.terminate()
    await launcher.stop()
  })
})

describe('a program that does not wait for its drain', () => {
  test.each([
    ['closes its server', 'SIGUSR1', 'worker.closed-early', { call: 'server.close()', cut: 0, open: 1 }],
    ['exits', 'SIGUSR2', 'worker.ended-early', { cut: 1 }],
    ['is killed', 'SIGKILL', 'worker.ended-early', { cut: 1 }],
  ] as const)('%s: it is said, with what that cost (A-16, A-20)', async (_, name, event, cost) => {
    const { launcher, port } = await endless('--drain-timeout', '3s')
    const response = await stream(port, '/chunked')
    const [old] = (await launcher.pids()) as [number]
    const verdict = launcher.reload('retired')
    await launcher.when('it says what it has', ({ leaving }) => leaving[0]?.held.http !== undefined)
    signal(old, name)
    expect(await launcher.event(event)).toMatchObject({ level: 40, slot: 0, generation: 1, workerPid: old, ...cost })
    if (name === 'SIGUSR1') response.destroy()
    const { notes, workers } = (await verdict) as Verdict
    expect(notes).toEqual([
      expect.stringMatching(new RegExp(`^slot 0 \\(pid ${old}\\): the program .* before its drain`)),
    ])
    expect(workers[0]).toMatchObject(name === 'SIGUSR1' ? { closed: 1, cut: 0 } : { closed: 0, cut: 1 })
    // Nobody takes the place of one that leaves.
    expect(launcher.events.filter(({ msg }) => msg === 'worker.spawned')).toHaveLength(2)
    await launcher.stop()
  })
})

describe('the end of a worker', () => {
  test.each([
    [[], 'SIGTERM', 'undefined'],
    [['--stop-signal', 'SIGINT'], 'SIGINT', 'undefined'],
    [['--stop-signal', 'USR2'], 'SIGUSR2', 'undefined'],
    [['--compat', 'pm2'], 'SIGINT', 'function'],
    [['--compat', 'pm2', '--stop-signal', 'TERM'], 'SIGTERM', 'function'],
    [['--compat', 'pm2', 'messages'], 'message shutdown', 'function'],
  ])('%j: it is told once, when its connections are gone or the deadline has passed', async (words, told, send) => {
    const port = await freePort()
    const file = join(temporaryDirectory(), 'told')
    const [listens, options] = [words.includes('messages'), words.filter((word) => word !== 'messages')]
    const launcher = await startLauncher({
      command: ['node', fixture('servers/told.cjs'), String(port), file, listens ? 'messages' : 'nothing'],
      options: ['--drain-timeout', '700ms', ...options],
    })
    expect(await ask(port)).toBe(send)
    const open = await stream(port, '/endless')
    await launcher.reload('retired')
    expect(readFileSync(file, 'utf8')).toBe(`${told}\n`)
    open.destroy()
    await launcher.reload('retired')
    await launcher.stop()
    expect(readFileSync(file, 'utf8')).toBe(`${told}\n`.repeat(3))
  })
})
