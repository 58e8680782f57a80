import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, TEST_NODE } from '../support/paths'

const SETTINGS = ['tcp_early_retrans', 'tcp_rto_min_us'].filter((name) => existsSync(`/proc/sys/net/ipv4/${name}`))

/** A mount namespace of its own, since a sysfs shows the network of who mounts it. */
const STEERING = 'mount -t sysfs sysfs /mnt && cat /mnt/class/net/lo/queues/rx-0/rps_cpus'

interface Seen {
  readonly entered: unknown
  readonly settings: readonly string[]
  readonly interfaces: readonly string[]
  readonly steering: readonly string[]
}

/** What a process sees that is started by one which has entered a network. */
function seenIn(network: 'private' | 'shared'): Seen {
  const program = `
    const { enterNetwork } = require(${JSON.stringify(join(ROOT, 'dist/verify/private-network.js'))})
    const { execFileSync } = require('node:child_process')
    const run = (...argv) => execFileSync(argv[0], argv.slice(1), { encoding: 'utf8' }).trim().split('\\n')
    const entered = enterNetwork(${JSON.stringify(network)})
    const settings = run('cat', ...${JSON.stringify(SETTINGS.map((name) => `/proc/sys/net/ipv4/${name}`))})
    const interfaces = run('ls', '/proc/self/net/dev_snmp6')
    const steering = run('unshare', '--mount', 'sh', '-c', ${JSON.stringify(STEERING)})
    console.log(JSON.stringify({ entered, settings, interfaces, steering }))
  `
  return JSON.parse(execFileSync(TEST_NODE, ['-e', program], { encoding: 'utf8' }))
}

test('a private network is a loopback that sends nothing twice and keeps the order; the one outside stays as it is', () => {
  const before = seenIn('shared')
  const { steering, ...seen } = seenIn('private')
  expect(seen).toEqual({
    entered: { private: true, reason: null },
    settings: ['0', '2000000'].slice(0, SETTINGS.length),
    interfaces: ['lo'],
  })
  const processors = Number.parseInt((steering[0] as string).replaceAll(',', ''), 16).toString(2)
  expect(processors).toBe('1'.repeat(cpus().length))
  expect(seenIn('shared')).toEqual(before)
  expect(before.entered).toEqual({ private: false, reason: 'asked for' })
})
