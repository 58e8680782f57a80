import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Status } from '../../src/control-protocol'
import type { State } from '../../src/launcher/brain/state'
import { NO_SLOT } from '../../src/launcher/brain/state'
import { EventStream } from '../../src/launcher/event-stream'
import { History } from '../../src/launcher/status-page/history'
import { Live } from '../../src/launcher/status-page/live'
import { StatusPage } from '../../src/launcher/status-page/status-page'
import { ROOT } from '../support/paths'
import { until } from '../support/until'

/** [generation, state, slot] of each worker. */
function stateOf(...workers: (readonly [number, string, number?])[]): State {
  const generations = Object.fromEntries(workers.map(([number]) => [number, { number }]))
  const all = workers.map(([generation, state, slot], id) => [id, { id, generation, state, slot: slot ?? id }])
  return { generations, workers: Object.fromEntries(all) } as unknown as State
}

test('the history has what each generation was doing, and each change once', () => {
  const history = new History()
  const seen = vi.fn()
  history.onSample = seen
  history.stepped(stateOf([1, 'serving'], [1, 'serving'], [1, 'ready', NO_SLOT]), 1_000)
  history.stepped(stateOf([1, 'serving'], [1, 'serving'], [1, 'exited']), 2_000)
  history.stepped(stateOf([1, 'paused'], [1, 'serving'], [2, 'ready'], [2, 'claimed'], [2, 'stopping']), 3_000)
  expect(history.samples).toEqual([
    { at: 1_000, generations: [{ number: 1, workers: { serving: 2 } }] },
    {
      at: 3_000,
      generations: [
        { number: 1, workers: { paused: 1, serving: 1 } },
        { number: 2, workers: { held: 1, starting: 1, draining: 1 } },
      ],
    },
  ])
  expect(seen).toHaveBeenCalledTimes(2)
})

test('many changes at once are one step, and the oldest are forgotten', () => {
  const history = new History()
  for (let n = 0; n < 1_000; n++)
    history.stepped(stateOf(...Array.from({ length: n + 1 }, () => [1, 'serving'] as const)), 5 + n / 100)
  expect(history.samples).toEqual([{ at: 5, generations: [{ number: 1, workers: { serving: 1_000 } }] }])
  for (let n = 0; n < 1_500; n++) history.stepped(stateOf([n, 'serving']), 1_000 + n * 50)
  expect(history.samples.length).toBe(1_000)
  expect(history.samples.at(-1)?.generations[0]?.number).toBe(1_499)
})

interface Watching {
  readonly socket: Socket
  text: string
}

async function start(status: () => Promise<Status>): Promise<{ live: Live; watch: () => Watching }> {
  const live = new Live(status, () => ({ history: [1, 2] }))
  const server = createServer((request, response) => live.add(request, response))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  onTestFinished(() => void server.close())
  const watch = (): Watching => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    const watching: Watching = { socket, text: '' }
    socket.on('error', () => {})
    socket.on('data', (data) => {
      watching.text += data
    })
    socket.write('GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n')
    return watching
  }
  return { live, watch }
}

/** As `until`, while no time passes. */
async function soon(what: string, look: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!look()) {
    if (performance.now() > deadline) throw new Error(`not soon: ${what}`)
    await new Promise((done) => setImmediate(done))
  }
}

test('who watches gets what was, and then what is; nobody is asked, and no timer runs, once he has gone', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  let asked = 0
  const { live, watch } = await start(async () => ({ pid: ++asked }) as unknown as Status)
  live.send('event', 'before anybody watched')
  expect(vi.getTimerCount()).toBe(0)
  const one = watch()
  await soon('the status', () => one.text.includes('"pid":1'))
  vi.advanceTimersByTime(1_000)
  await soon('another one', () => one.text.includes('"pid":2'))
  expect(one.text).toMatch(
    /^HTTP\/1.1 200 .*text\/event-stream.*retry: 1000\n\nevent: history\ndata: \[1,2\]\n\nevent: status\n/s,
  )
  expect(one.text).not.toMatch(/transfer-encoding|before anybody/i)
  live.send('event', { text: 'two\nlines' })
  await soon('the event', () => one.text.includes('event: event\ndata: {"text":"two\\nlines"}\n\n'))
  const two = watch()
  await soon('he is told at once', () => two.text.includes('"pid":3') && one.text.includes('"pid":3'))
  expect(vi.getTimerCount()).toBe(1)
  one.socket.destroy()
  two.socket.destroy()
  await soon('no timer', () => vi.getTimerCount() === 0)
  expect(asked).toBe(3)
})

test('what cannot be found out is said, and tried again', async () => {
  let asked = 0
  const { watch } = await start(() =>
    asked++ === 0 ? Promise.reject(new Error('EMFILE')) : Promise.resolve({} as Status),
  )
  const one = watch()
  await until('the status', () => one.text.includes('event: status'))
  expect(one.text).toContain('event: failed\ndata: "EMFILE"')
})

test('too many are told so', async () => {
  const { watch } = await start(() => Promise.resolve({} as Status))
  const all = Array.from({ length: 17 }, watch)
  await until('all are answered', () => all.every(({ text }) => text !== ''))
  expect(all.filter(({ text }) => text.startsWith('HTTP/1.1 503')).length).toBe(1)
})

test('one who does not read is cut off, and others read on', async () => {
  const { live, watch } = await start(() => Promise.resolve({} as Status))
  const [slow, other] = [watch(), watch()]
  await until('both are there', () => slow.text !== '' && other.text !== '')
  slow.socket.pause()
  const ended = new Promise((done) => slow.socket.once('close', done))
  for (let n = 0; n < 30; n++) {
    live.send('event', { n, text: 'x'.repeat(1_048_576) })
    await until('the other reads', () => other.text.includes(`"n":${n},`))
    other.text = ''
  }
  slow.socket.resume()
  await ended
})

test('the page may do what it does, and nothing else', () => {
  const page = new StatusPage(() => Promise.reject(new Error('not asked')), stateOf([1, 'serving']), new EventStream())
  const headers = new Map<string, unknown>()
  const response = {
    setHeader: (name: string, value: unknown) => headers.set(name, value),
    writeHead: () => {},
    end: vi.fn(),
  }
  void page.routes['/']?.answer({} as never, response as never)
  const html = readFileSync(join(ROOT, 'web', 'status-page.html'), 'utf8')
  expect(String(response.end.mock.calls[0])).toBe(html)
  const policy = String(headers.get('content-security-policy'))
  for (const tag of ['script', 'style']) {
    const [, text = ''] = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(html) ?? []
    expect(policy).toContain(`${tag}-src 'sha256-${createHash('sha256').update(text).digest('base64')}';`)
  }
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toMatch(/unsafe|\*|https?:/)
  // One file: nothing is loaded, and no text becomes markup.
  expect(
    html.replace("xmlns='http://www.w3.org/2000/svg'", '').replace("'http://www.w3.org/2000/svg'", ''),
  ).not.toMatch(
    /https?:\/\/|<link(?! rel="icon" href="data:)|\bsrc=|@import|innerHTML|insertAdjacentHTML|document\.write|localStorage|cookie/,
  )
})

test('the log goes to the page without what programs have written', () => {
  const events = new EventStream()
  const log = events.beside(() => {})
  const page = new StatusPage(() => Promise.resolve({} as Status), stateOf(), events)
  log('error', 'worker.exited', { slot: 1, stderr: ['password=hunter2'] })
  const sent: string[] = []
  const response = { writeHead: () => {}, once: () => {}, write: (text: string) => sent.push(text) }
  void page.routes['/live']?.answer({ method: 'GET' } as never, response as never)
  expect(sent.join('')).toContain('"level":"error","event":"worker.exited","fields":{"slot":1}')
  expect(sent.join('')).not.toContain('hunter2')
})
