import { expect, test } from 'vitest'
import type { Status } from '../../src/control-protocol'
import { chooseListener, targetOf } from '../../src/verify/target'

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
  [undefined, 'tcp *:3000'],
  ['4000', 'tcp [::1]:4000'],
  ['tcp [::1]:4000', 'tcp [::1]:4000'],
])('the listener for %j is %s', (wanted, address) => {
  expect(chooseListener(status, wanted).address).toBe(address)
})

test('what does not listen is an error that says what does', () => {
  expect(() => chooseListener(status, '80')).toThrow(
    expect.objectContaining({
      code: 'ERR_ADDRESS',
      next: expect.stringContaining('unix /a, tcp *:3000, tcp [::1]:4000'),
    }),
  )
})
