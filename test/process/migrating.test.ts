import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Page } from '../docs/markdown'
import { Clients, tryConnect } from '../support/clients'
import { MAIN, temporaryDirectory, userEnv, withDeadline } from '../support/launcher'
import { ROOT } from '../support/paths'
import { freePort } from '../support/ports'
import { isAlive, marked, signal } from '../support/processes'
import { until } from '../support/until'

/*
 * docs/migrating.md and docs/migrating-from-pm2.md, as they stand: files and commands are taken from the page; only the port is another one.
 */

const fences = ['docs/migrating-from-pm2.md', 'docs/migrating.md'].flatMap((path) => new Page(path).fences)
const examples = fences
  .filter(({ kind }) => kind === 'sh')
  .map(({ heading, text }) => ({ heading, lines: text.trim().split('\n'), first: text.split('\n')[0] as string }))

/** A shell in which the words of the page mean what they mean to who has installed the package. */
class Shell {
  readonly directory = join(temporaryDirectory(), 'shop')
  readonly #env: Record<string, string>
  readonly #said: string[] = []
  #isEnding = false

  constructor(files: readonly { name: string; text: string }[]) {
    const modules = join(this.directory, 'node_modules')
    const programs = join(modules, '.bin')
    mkdirSync(programs, { recursive: true })
    symlinkSync(ROOT, join(modules, 'reuseport-run'))
    // The mark goes the way of systemd-socket-activate too, which passes hardly a variable on.
    const id = `migrating-${process.pid}-${Math.random()}`
    const start = `#!/bin/sh\nexport RUN_MARK=${id}\nexec node ${MAIN} "$@"\n`
    writeFileSync(join(programs, 'reuseport-run'), start, { mode: 0o755 })
    for (const { name, text } of files) writeFileSync(join(this.directory, name), text)
    const env = userEnv({ RUN_MARK: id, XDG_RUNTIME_DIR: join(this.directory, '..') })
    this.#env = { ...env, PATH: `${programs}:${env['PATH']}` }
    onTestFinished(() => {
      for (const { pid } of marked(`RUN_MARK=${id}`)) signal(pid, 'SIGKILL')
    })
  }

  get story(): string {
    return this.#said.join('')
  }

  /** One line, in a process that takes its place. */
  #start(line: string): Promise<number | string> {
    const child = spawn('bash', ['-c', line], {
      cwd: this.directory,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => this.#said.push(String(data)))
    return once(child, 'exit').then(([code, by]) => (code ?? by) as number | string)
  }

  /** `line &`: gives its end, which must not come before end(). */
  background(line: string): Promise<number | string> {
    return this.#start(`exec ${line}`).then((code) => {
      if (!this.#isEnding) this.#said.push(`\n"${line}" has ended: ${code}\n`)
      return code
    })
  }

  async run(line: string): Promise<void> {
    const code = await withDeadline(this.#start(line), 25_000, () => `${line}\n${this.story}`)
    expect({ line, code, story: code === 0 ? '' : this.story }).toEqual({ line, code: 0, story: '' })
  }

  end(line: string): Promise<void> {
    this.#isEnding = true
    return this.run(line)
  }
}

test.each(examples)('$heading: $first', async ({ heading, lines }) => {
  const port = await freePort()
  const here = (text: string): string => text.replaceAll('3000', String(port))
  const files = fences.flatMap(({ file, text, ...fence }) =>
    fence.heading === heading && file !== undefined ? [{ name: file, text: here(text) }] : [],
  )
  const shell = new Shell(files)
  const [first, ...orders] = lines as [string, ...string[]]
  const end = orders.pop() as string
  expect(first).toMatch(/ &$/)
  const ended = shell.background(here(first.replace(/ &$/, '')))
  await until('it listens', async () => (await tryConnect(port)) === 'connected', 15_000).catch((error) => {
    throw new Error(`${error}\n${shell.story}`)
  })
  // What is given its sockets closes idle connections by itself.
  const clients = new Clients(port, 2, !first.includes('--listen'))
  const served = (): Set<string> => new Set(clients.answers.keys())
  await clients.more(100)
  for (const order of orders) {
    const before = served()
    await shell.run(here(order))
    // Another number of workers is no other version.
    const isNew = !order.includes('scale')
    const old = (): string[] => [...served()].filter((answer) => isNew && before.has(answer))
    await until('only new ones answer', async () => {
      clients.answers.clear()
      await clients.more(40)
      return old().length === 0
    })
    await clients.more(100)
    expect(old()).toEqual([])
  }
  const last = [...served()].map(Number)
  expect(last.filter(isAlive)).toEqual(last)
  expect((await clients.stop()).failures).toEqual([])
  await shell.end(here(end))
  await until('all has ended', () => !last.some(isAlive))
  expect(await withDeadline(ended, 10_000, () => shell.story)).toBe(0)
  expect(await tryConnect(port)).toBe('ECONNREFUSED')
})

test('the units do what is tried without them', () => {
  const unit = (name: string): Map<string, string> => {
    const { text } = fences.find(({ file }) => file === name) ?? expect.fail(name)
    return new Map([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, key, value]) => [key as string, value as string]))
  }
  const [socket, service] = [unit('shop.socket'), unit('shop.service')]
  const words = (name: string): string => (service.get(name) as string).replace('/usr/local/bin/', '')
  const tried = `systemd-socket-activate -l ${socket.get('ListenStream')} --fdname=${socket.get('FileDescriptorName')} -E XDG_RUNTIME_DIR`
  expect(examples.map(({ lines }) => lines.slice(0, 2))).toContainEqual([
    `${tried} ${words('ExecStart')} &`,
    words('ExecReload'),
  ])
})
