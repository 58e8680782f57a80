import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { scriptOf } from '../docs/page-script'
import { MAIN, temporaryDirectory, userEnv, withDeadline } from '../support/launcher'
import { Machine } from '../support/machine'
import { ROOT } from '../support/paths'

/*
 * docs/fleet.md, as it stands: three hosts with a launcher each, a network between them, Debian's etcd and Ansible. Namespaces are root's to make.
 */

const run = promisify(execFile)
const HOSTS = ['web1', 'web2', 'web3']

/** The command of the page that contains this. */
function written(part: string): string {
  const commands = scriptOf('docs/fleet.md').flatMap((one) => (one.do === 'run' ? one.commands : []))
  return commands.find(({ text }) => text.includes(part))?.text ?? expect.fail(`docs/fleet.md has no ${part}`)
}

/** A version says its name; on a host with /srv/full it does not come up. */
const versionOf = (name: string): string => `
if (require('node:fs').existsSync('/srv/full') && '${name}' !== 'one') throw new Error('no space left')
require('node:http').createServer((request, response) => response.end('${name}')).listen(3000)`

interface Host {
  readonly name: string
  readonly machine: Machine
}

class Fleet {
  readonly place = temporaryDirectory()
  readonly hosts: Host[] = []
  /** Where etcd is, and where the hosts meet. */
  #middle: Machine | undefined

  static async start(): Promise<Fleet> {
    const fleet = new Fleet()
    mkdirSync(join(fleet.place, 'bin'))
    writeFileSync(join(fleet.place, 'bin', 'reuseport-run'), `#!/bin/sh\nexec node ${MAIN} "$@"\n`, { mode: 0o755 })
    cpSync(join(ROOT, 'examples', 'fleet'), fleet.place, { recursive: true })
    writeFileSync(join(fleet.place, 'hosts'), '127.0.0.1 localhost\n10.9.0.1 etcd\n')
    const middle = await fleet.#machine()
    fleet.#middle = middle
    await middle.run('ip link add lan type bridge && ip addr add 10.9.0.1/24 dev lan && ip link set lan up')
    await Promise.all(HOSTS.map((name, index) => fleet.#host(name, `10.9.0.${index + 11}`)))
    fleet.hosts.sort((one, other) => one.name.localeCompare(other.name))
    return fleet
  }

  get path(): string {
    return `${this.place}:${join(this.place, 'bin')}`
  }

  async etcd(): Promise<void> {
    const urls = '--listen-client-urls http://10.9.0.1:2379 --advertise-client-urls http://etcd:2379'
    const middle = this.#middle as Machine
    await middle.stays(`etcd --data-dir /srv/etcd --log-level error ${urls}`, () => true)
    const asked = 'until ETCDCTL_ENDPOINTS=http://etcd:2379 etcdctl endpoint health; do :; done'
    expect(await middle.run(asked)).toMatchObject({ code: 0 })
  }

  /** The same on every host at the same time. Exit codes, and what was said, by host. */
  async everywhere(...texts: string[]): Promise<{ codes: number[]; outputs: string[] }> {
    const steps = await Promise.all(this.hosts.map(({ machine }) => machine.run(texts.join('\n'), 60_000)))
    return { codes: steps.map(({ code }) => code), outputs: steps.map(({ output }) => output) }
  }

  async on(name: string, text: string): Promise<string> {
    const { machine } = this.hosts.find((host) => host.name === name) as Host
    const { code, output } = await machine.run(text)
    expect({ text, code, output }).toMatchObject({ code: 0 })
    return output
  }

  /** What the clients of each host get. */
  async versions(): Promise<string[]> {
    const ask = "fetch('http://127.0.0.1:3000/').then(async (answer) => console.log(await answer.text()))"
    const { outputs } = await this.everywhere(`node -e "${ask}"`)
    return outputs.map((output) => output.trim())
  }

  /** Every reload of every host, by the hosts' own logs: in the order in which they began. */
  async reloads(): Promise<{ host: string; begun: number; ended: number; result: string }[]> {
    const { outputs } = await this.everywhere('cat /srv/shop.log')
    return outputs
      .flatMap((log, index) => {
        const events = log.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []))
        return events.flatMap(({ msg, id, time }) => {
          if (msg !== 'reload.started') return []
          const end = events.find((one) => one.id === id && /^reload\.(done|aborted|undone)$/.test(one.msg))
          return [
            { host: HOSTS[index] as string, begun: time, ended: end.time, result: end.msg.slice('reload.'.length) },
          ]
        })
      })
      .sort((one, other) => one.begun - other.begun)
  }

  /** Ansible's way onto a host is the namespaces, in place of ssh. */
  inventory(): string {
    const lines = this.hosts.map(({ name, machine }) => {
      const python = join(this.place, `python-${name}`)
      const enter = `nsenter --target ${machine.pid} --net --mount --uts --pid`
      writeFileSync(python, `#!/bin/sh\nexec ${enter} python3 "$@"\n`, { mode: 0o755 })
      return `    ${name}: { ansible_python_interpreter: ${python} }`
    })
    const file = ['shop:', '  vars: { ansible_connection: local }', '  hosts:', ...lines, ''].join('\n')
    writeFileSync(join(this.place, 'test-inventory.yml'), file)
    return 'test-inventory.yml'
  }

  async #machine(): Promise<Machine> {
    const machine = await Machine.start()
    onTestFinished(() => machine.end())
    await machine.run(`PATH=${this.path}:$PATH; mount --bind ${this.place}/hosts /etc/hosts`)
    return machine
  }

  async #host(name: string, address: string): Promise<void> {
    const machine = await this.#machine()
    const middle = this.#middle as Machine
    const wire = ['link', 'add', 'eth0', 'netns', String(machine.pid), 'type', 'veth']
    await run('ip', [...wire, 'peer', 'name', name, 'netns', String(middle.pid)])
    expect(await middle.run(`ip link set ${name} master lan up`)).toEqual({ code: 0, output: '' })
    const network = `hostname ${name} && ip addr add ${address}/24 dev eth0 && ip link set eth0 up`
    expect(await machine.run(network)).toEqual({ code: 0, output: '' })
    const release = 'mkdir -p /srv/shop/releases/one && ln -s /srv/shop/releases/one /srv/shop/current'
    await machine.run(`${release} && cd /srv/shop/current && cat > server.js <<'END'\n${versionOf('one')}\nEND`)
    const launcher =
      'reuseport-run --name shop -n 2 --bake 500ms --log-format json --log-file /srv/shop.log -- node server.js'
    await machine.stays(launcher, () => true)
    await machine.run('listens 3000')
    this.hosts.push({ name, machine })
  }
}

/** No reload began before the one before it had its verdict. */
function expectInTurn(reloads: readonly { begun: number; ended: number }[]): void {
  for (const [index, { begun }] of reloads.entries())
    if (index > 0) expect(begun).toBeGreaterThanOrEqual((reloads[index - 1] as { ended: number }).ended)
}

test('a lock in etcd: three hosts at once reload one after the other; after a failure nobody begins', {
  timeout: 300_000,
}, async () => {
  const fleet = await Fleet.start()
  await fleet.etcd()
  const put = (name: string): string => `cat > server.js <<'END'\n${versionOf(name)}\nEND`
  await fleet.everywhere(written('export ETCDCTL_ENDPOINTS'))

  const first = await fleet.everywhere(put('two'), written('-- reuseport-run reload'))
  expect(first).toMatchObject({ codes: [0, 0, 0] })
  const reloads = await fleet.reloads()
  expect(reloads.map(({ result }) => result)).toEqual(['done', 'done', 'done'])
  expectInTurn(reloads)
  expect(await fleet.versions()).toEqual(['two', 'two', 'two'])

  // Whoever has the lock first fails: so does each that comes after it, without a reload.
  const inTurn = written('reload-in-turn')
  const second = await fleet.everywhere('touch /srv/full', put('three'), inTurn)
  expect(second.codes).toEqual([1, 1, 1])
  const tried = (await fleet.reloads()).slice(3)
  expect(tried).toMatchObject([{ result: 'aborted' }])
  const refused = second.outputs.filter((output) => output.includes('not reloaded: '))
  expect(refused).toHaveLength(2)
  for (const output of refused) expect(output).toContain(`${tried[0]?.host} failed with exit code 4`)
  expect(await fleet.versions()).toEqual(['two', 'two', 'two'])

  await fleet.on('web1', written('etcdctl del'))
  expect(await fleet.everywhere('rm /srv/full', inTurn)).toMatchObject({ codes: [0, 0, 0] })
  expectInTurn(await fleet.reloads())
  expect(await fleet.versions()).toEqual(['three', 'three', 'three'])
})

test('Ansible: host by host; the second fails, goes back, and the third is not touched', {
  timeout: 300_000,
}, async () => {
  const fleet = await Fleet.start()
  const play = async (release: string): Promise<{ code: number; output: string }> => {
    const folder = join(fleet.place, 'releases', release)
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'server.js'), versionOf(release))
    const words = written('ansible-playbook')
      .replace('inventory.yml', fleet.inventory())
      .replace('release=2', `release=${release}`)
    const env = userEnv({
      ANSIBLE_LOCAL_TEMP: fleet.place,
      ANSIBLE_REMOTE_TEMP: fleet.place,
      LC_ALL: 'C.UTF-8',
      ANSIBLE_PIPELINING: '1',
    })
    const child = spawn('bash', ['-c', words], {
      cwd: fleet.place,
      env: { ...env, PATH: `${fleet.path}:${env['PATH']}` },
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data))
    const [code] = await withDeadline(once(child, 'close'), 150_000, () => output)
    return { code, output }
  }
  const first = await play('two')
  expect(first).toMatchObject({ code: 0 })
  expect(await fleet.versions()).toEqual(['two', 'two', 'two'])
  const reloads = await fleet.reloads()
  expect(reloads.map(({ host, result }) => `${host} ${result}`)).toEqual(['web1 done', 'web2 done', 'web3 done'])
  expectInTurn(reloads)

  await fleet.on('web2', 'touch /srv/full')
  const { code, output } = await play('three')
  expect({ code, output }).toMatchObject({
    code: 2,
    output: expect.stringContaining('web2 serves /srv/shop/releases/two as before'),
  })
  const second = (await fleet.reloads()).slice(3)
  expect(second.map(({ host, result }) => `${host} ${result}`)).toEqual(['web1 done', 'web2 aborted'])
  expectInTurn(second)
  expect(await fleet.versions()).toEqual(['three', 'two', 'two'])
  const { outputs } = await fleet.everywhere('readlink /srv/shop/current; ls /srv/shop/releases')
  expect(outputs.map((said) => said.split('\n')[0])).toEqual(
    ['three', 'two', 'two'].map((name) => `/srv/shop/releases/${name}`),
  )
  expect(outputs[2]).not.toContain('three')
})
