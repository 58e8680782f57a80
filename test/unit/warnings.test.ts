import { expect, test } from 'vitest'
import { migrateWarnings } from '../../src/launcher/warnings'
import type { ListenOption } from '../../src/options'

const tcp: ListenOption = { name: null, from: { kind: 'tcp', host: null, port: 3000, ipv6Only: false } }
const unix: ListenOption = { name: null, from: { kind: 'unix', path: '/run/a.sock' } }

test.each<[string, readonly ListenOption[], number, number | null, number]>([
  ['a program without our agent, whose sockets the kernel does not look after', [tcp], 2, 0, 1],
  ['which it does', [tcp], 2, 1, 0],
  ['which this kernel cannot', [tcp], 2, null, 0],
  ['one worker, which has no sibling', [tcp], 1, 0, 0],
  ['a socket that all share', [unix], 2, 0, 0],
  ['a program with our agent, which shuts nothing down', [], 2, 0, 0],
])('tcp_migrate_req: %s', (_what, listen, workers, migrates, count) => {
  expect(migrateWarnings({ listen, workers }, migrates)).toHaveLength(count)
})
