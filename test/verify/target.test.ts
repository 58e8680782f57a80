import { expect, test } from 'vitest'
import type { Status } from '../../src/control-protocol'
import { chooseListeners, targetOf } from '../../src/verify/target'

test.each([
  ['tcp *:3000', { host: '127.0.0.1', port: 3000 }],
  ['tcp 0.0.0.0:80', { host: '127.0.0.1', port: 80 }],
  ['tcp 127.0.0.2:80', { host: '127.0.0.2', port: 80 }],
  ['tcp [::1]:3000', { host: '::1', port: 3000 }],
  ['tcp [::]:3000', { host: '::1', port: 3000 }],
  ['unix /run/app.sock', null],
])('%s', (address, target) => {
  expect(targetOf(address)).toEqual(target)
})

const status = {
  listeners: [{ address: 'unix /a' }, { address: 'tcp *:3000' }, { address: 'tcp [::1]:4000' }],
} as unknown as Status

test.each([
  [{}, ['tcp *:3000']],
  [{ listener: '4000' }, ['tcp [::1]:4000']],
  [{ listener: 'tcp [::1]:4000' }, ['tcp [::1]:4000']],
  [{ https: '4000' }, ['tcp *:3000', 'tcp [::1]:4000']],
  [{ https: '4000', http2: '4000' }, ['tcp *:3000', 'tcp [::1]:4000']],
  [{ https: '3000' }, ['tcp [::1]:4000', 'tcp *:3000']],
  [{ http2: '3000', h2c: '4000' }, ['tcp *:3000', 'tcp [::1]:4000']],
])('the listeners for %j are %j', (wanted, addresses) => {
  expect(chooseListeners(status, wanted).addresses).toEqual(addresses)
})

test('plain clients go where no other protocol is', () => {
  const plain = { host: '127.0.0.1', port: 3000 }
  const other = { host: '::1', port: 4000 }
  const none = { http: null, https: null, http2: null, h2c: null }
  expect(chooseListeners(status, { https: '3000' }).targets).toEqual({
    ...none,
    http: other,
    https: { ...plain, tls: true },
  })
  expect(chooseListeners(status, { https: '3000', h2c: '4000' }).targets).toEqual({
    ...none,
    https: { ...plain, tls: true },
    h2c: other,
  })
})

test('what does not listen is an error that says what does', () => {
  for (const wanted of [{ listener: '80' }, { https: '80' }]) {
    expect(() => chooseListeners(status, wanted)).toThrow(
      expect.objectContaining({
        code: 'ERR_ADDRESS',
        next: expect.stringContaining('unix /a, tcp *:3000, tcp [::1]:4000'),
      }),
    )
  }
})
