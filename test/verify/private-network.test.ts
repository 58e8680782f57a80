import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, TEST_NODE } from '../support/paths'

const SETTINGS = ['tcp_early_retrans', 'tcp_rto_min_us'].filter((name) => existsSync(`/proc/sys/net/ipv4/${name}`))

/** What a process sees that is started by one which has entered a network. */
function settingsIn(network: 'private' | 'shared'): { entered: unknown; settings: string[]; interfaces: string[] } {
  const program = `
    const { enterNetwork } = require(${JSON.stringify(join(ROOT, 'dist/verify/private-network.js'))})
    const { execFileSync } = require('node:child_process')
    const run = (...argv) => execFileSync(argv[0], argv.slice(1), { encoding: 'utf8' }).trim().split('\\n')
    const entered = enterNetwork(${JSON.stringify(network)})
    const settings = run('cat', ...${JSON.stringify(SETTINGS.map((name) => `/proc/sys/net/ipv4/${name}`))})
    console.log(JSON.stringify({ entered, settings, interfaces: run('ls', '/proc/self/net/dev_snmp6') }))
  `
  return JSON.parse(execFileSync(TEST_NODE, ['-e', program], { encoding: 'utf8' }))
}

test('a private network is a loopback that sends nothing twice; the network outside stays as it is', () => {
  const before = settingsIn('shared')
  expect(settingsIn('private')).toEqual({
    entered: { private: true, reason: null },
    settings: ['0', '2000000'].slice(0, SETTINGS.length),
    interfaces: ['lo'],
  })
  expect(settingsIn('shared')).toEqual(before)
  expect(before.entered).toEqual({ private: false, reason: 'asked for' })
})
