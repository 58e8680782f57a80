import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ask } from '../support/clients'
import { startLauncher, temporaryDirectory } from '../support/launcher'
import { fixture } from '../support/paths'
import { freePort } from '../support/ports'
import { childrenOf, descriptorsOf, listeningInodes, listeningSockets, marked } from '../support/processes'
import { until } from '../support/until'
import { Versions } from '../support/versions'

const RELOADS = 200

/** What a process holds open, by kind: "socket", "pipe", "/dev/null". Which one it is, and under which number, changes with every reload. */
function kinds(pid: number): string[] {
  return [...descriptorsOf(pid).values()].map((what) => what.replace(/:\[\d+\]$/, '')).sort()
}

const isSocket = (kind: string): boolean => kind === 'socket'

/**
 * What a process holds once the stderr of its worker, or its own, is no pipe to the launcher any more, which is some time after it serves.
 * Such a pipe is one of which it has one end, unless it has inherited that from us.
 */
async function settledKinds(pid: number): Promise<string[]> {
  const ours = [...descriptorsOf(process.pid).values()]
  return until(`pid ${pid} has no pipe to another process`, () => {
    const pipes = [...descriptorsOf(pid).values()].filter((what) => what.startsWith('pipe:') && !ours.includes(what))
    return pipes.every((one) => pipes.indexOf(one) !== pipes.lastIndexOf(one)) && kinds(pid)
  })
}

/** The same kinds as before, once the connection over which the launcher was last asked has gone. */
async function sameKinds(pid: number, before: readonly string[]): Promise<void> {
  const same = until('the same files', () => String(kinds(pid)) === String(before), 5_000)
  await same.catch(() => expect(kinds(pid)).toEqual(before))
}

test('two hundred reloads leave no descriptor, no zombie and no process (J-03)', async () => {
  const port = await freePort()
  const versions = new Versions()
  const launcher = await startLauncher({
    command: versions.command(port),
    options: ['-n', '2'],
    cwd: versions.directory,
  })
  await until('launcher and workers have a copy of each socket', async () => {
    const sockets = await listeningSockets(port)
    return sockets.length === 2 && sockets.every(({ holders }) => holders.length === 3)
  })
  const unasked = await settledKinds(launcher.pid)
  const first = await Promise.all((await launcher.pids()).map(settledKinds))
  // libuv opens /dev/null for its first stream, which is the first control client: that stays, the connection goes.
  const before = await until('the connection has gone', () => {
    const now = kinds(launcher.pid)
    return now.filter(isSocket).length === unasked.filter(isSocket).length && now
  })
  for (let round = 1; round <= RELOADS; round++) {
    expect(await launcher.reload('retired')).toMatchObject({ result: 'done', reason: null })
    // The old ones have been reaped, not just ended, when the answer comes.
    const pids = await launcher.pids()
    expect(childrenOf(launcher.pid).map(({ pid, state }) => [pid, state === 'Z'])).toEqual(
      [...pids].sort((a, b) => a - b).map((pid) => [pid, false]),
    )
  }
  await sameKinds(launcher.pid, before)
  const last = await launcher.pids()
  for (const [slot, pid] of last.entries()) await sameKinds(pid, first[slot] as string[])
  expect(marked(launcher.mark)).toHaveLength(3)
  await launcher.stop()
}, 180_000)

test.each(['stop', 'SIGINT', 'SIGINT in a reload'] as const)('%s leaves no process and no file (D-11)', async (how) => {
  const port = await freePort()
  const directory = temporaryDirectory()
  const path = join(directory, 'app.sock')
  // Behind a shell that stays: it is a process of the service too.
  const program = `node '${fixture('servers/many.cjs')}' a=${port} u=${path}; exit`
  const launcher = await startLauncher({ command: ['sh', '-c', program], options: ['-n', '2'], cwd: directory })
  await launcher.when('both listen', ({ listeners }) => listeners.length === 2)
  expect(await ask(port)).toMatch(/^a \d+$/)
  expect(await launcher.reload('baked')).toMatchObject({ result: 'done' })
  await launcher.event('reload.retired')
  expect(marked(launcher.mark)).toHaveLength(5)
  expect(readdirSync(launcher.directory).sort()).toEqual(['channel.sock', 'control.sock', 'lock', 'notes', 'pid'])
  expect(readdirSync(directory)).toHaveLength(2)

  if (how === 'stop') expect(await launcher.run('stop')).toMatchObject({ code: 0, stderr: '' })
  else {
    const reload = how === 'SIGINT' ? undefined : launcher.reload('baked')
    if (reload !== undefined) await launcher.event('worker.spawned', ({ generation }) => generation === 3)
    launcher.kill('SIGINT')
    if (reload !== undefined) expect(await reload).toMatchObject({ result: 'stopped' })
    expect(await launcher.ended).toEqual({ code: 0, signal: null })
  }
  // At once: what is left when the launcher has ended is left for good.
  expect(marked(launcher.mark)).toEqual([])
  expect(listeningInodes(port)).toEqual([])
  expect(readdirSync(directory)).toEqual([])
  expect(existsSync(launcher.directory)).toBe(false)
  expect(readdirSync(launcher.runtimeDir)).toEqual([])
})
