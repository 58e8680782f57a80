import { Agent } from 'node:http'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Native } from '../../src/native'
import { ask } from '../support/clients'
import { anyText, damaged, FUZZ_TIMEOUT_MS, fuzzing } from '../support/fuzz'
import { startLauncher, type TestLauncher } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { descriptorsOf } from '../support/processes'
import { REPORTS } from '../support/reports'
import { until } from '../support/until'

/*
 * A launcher that runs, and somebody who says anything to it: at its sockets, and as one of its workers. After each piece it answers, has as
 * many descriptors as before, and the others serve.
 */

const built = createRequire(import.meta.url)('../../dist/native.js') as { native(): Native }
const native = built.native()

/**
 * Without a hello of an earlier launcher's worker: of whoever has the uid it is believed where no such launcher has left word of its workers, so
 * that is no stranger.
 */
const strange = REPORTS.map((report) => (report.type === 'hello' ? { ...report, rejoin: undefined } : report))

const bytes = fc.oneof(
  damaged(strange),
  anyText,
  fc
    .tuple(
      fc.constantFrom('GET', 'POST', 'PUT'),
      fc.constantFrom('/status', '/events', '/abort', '/promote', '/scale', '/x'),
      anyText,
    )
    .map(([method, path, rest]) => `${method} ${path} HTTP/1.1\r\n${rest}\r\n\r\n`),
)

interface Deed {
  readonly to: 'control' | 'channel' | 'notify' | 'page'
  readonly said: readonly { readonly text: string; readonly fds: number }[]
}

const deed: fc.Arbitrary<Deed> = fc.record({
  to: fc.constantFrom('control' as const, 'channel' as const, 'notify' as const, 'page' as const),
  said: fc.array(fc.record({ text: bytes, fds: fc.oneof(fc.constant(0), fc.nat({ max: 253 })) }), {
    minLength: 1,
    maxLength: 3,
  }),
})

async function start(): Promise<{ launcher: TestLauncher; port: number; page: number }> {
  const [port, page] = [await freePort(), await freePort()]
  const launcher = await startLauncher({
    command: ['sh', '-c', `systemd-notify --ready && exec node ${fixture('servers/evil-worker.cjs')} ${port}`],
    options: ['-n', '2', '--ready', 'notify', '--metrics', String(page), '--status-page', String(page)],
  })
  return { launcher, port, page }
}

function perform({ to, said }: Deed, launcher: TestLauncher, page: number): void {
  if (to === 'page') {
    const socket = connect(page, '127.0.0.1').on('error', () => {})
    return void socket.end(said.map(({ text }) => text).join(''), () => socket.destroy())
  }
  const type = ({ control: 'stream', channel: 'seqpacket', notify: 'datagram' } as const)[to]
  const path = join(launcher.directory, `${to}.sock`)
  const fd = native.socket('unix', type)
  try {
    if (to !== 'notify') native.connectUnix(fd, path)
    for (const { text, fds } of said) {
      const data = Buffer.from(text === '' ? '\0' : text)
      const attached = Array(fds).fill(0)
      if (to === 'notify') native.sendDatagram(fd, path, data.subarray(0, 5_000), attached)
      else native.sendMessage(fd, data, attached)
    }
  } catch (error) {
    // It was sent away, so many wait already, or it was too long.
    expect((error as NodeJS.ErrnoException).code).toMatch(/^(EPIPE|ECONNRESET|EAGAIN|EMSGSIZE|ECONNREFUSED)$/)
  } finally {
    native.close(fd)
  }
}

/** Its pid, its workers and what it has open. */
async function standing(launcher: TestLauncher): Promise<{ fds: number; of: unknown }> {
  const { term, working, slots } = await launcher.status()
  return {
    fds: descriptorsOf(launcher.pid).size,
    of: [launcher.pid, term, working, slots.map(({ worker }) => worker?.pid)],
  }
}

test('live-client: whoever comes to its sockets, with whatever he says and attaches, changes nothing (I-01, I-10, S-05)', {
  timeout: FUZZ_TIMEOUT_MS,
}, async () => {
  const { launcher, page } = await start()
  const before = await standing(launcher)
  await fuzzing('live-client', fc.array(deed, { minLength: 20, maxLength: 40 }), 5, async (deeds) => {
    for (const one of deeds) perform(one, launcher, page)
    await until(
      () => `${descriptorsOf(launcher.pid).size} descriptors instead of ${before.fds}`,
      async () => (await standing(launcher)).fds <= before.fds,
    )
    expect((await standing(launcher)).of).toEqual(before.of)
    return deeds.length
  })
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})

/** Small enough for the target of a request. */
const saying = fc.array(
  damaged(REPORTS.filter(({ type }) => type !== 'hello')).filter((text) => encodeURIComponent(text).length < 1_500),
  { minLength: 1, maxLength: 5 },
)

test('live-worker: what one says in its agent’s name harms no other, and ends no launcher (I-05, I-19, S-06)', {
  timeout: FUZZ_TIMEOUT_MS,
}, async () => {
  const { launcher, port } = await start()
  const evil = new Agent({ keepAlive: true, maxSockets: 1 })
  const [first, second] = (await launcher.pids()) as [number, number]
  const pid = Number(await ask(port, '/', { agent: evil }))
  const sibling = pid === first ? second : first
  await fuzzing('live-worker', saying, 25, async (messages) => {
    const query = messages.map((text) => `say=${encodeURIComponent(text)}`).join('&')
    // A worker that has said that it has ended, or listens no more, is taken at its word.
    await ask(port, `/say?${query}`, { agent: evil }).catch(() => {})
    const { term, working, slots, pid: own } = await launcher.status()
    expect([own, term, working]).toEqual([launcher.pid, 1, 1])
    expect(slots.map(({ worker }) => worker?.pid)).toContain(sibling)
    return messages.length
  })
  evil.destroy()
  await launcher.when('all is well', ({ state }) => state === 'serving')
  expect(await launcher.reload()).toMatchObject({ result: 'done' })
  await launcher.stop()
})
