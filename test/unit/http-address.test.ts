import { expect, test } from 'vitest'
import { httpAddress } from '../../src/cli/http-address'

test.each([
  ['9090', '127.0.0.1'],
  [':9090', '127.0.0.1'],
  ['localhost:9090', '127.0.0.1'],
  ['127.0.0.1:9090', '127.0.0.1'],
  ['[::1]:9090', '::1'],
  ['0.0.0.0:9090', '0.0.0.0'],
  ['[::]:9090', '::'],
  ['*:9090', null],
])('%s is %s: for others than this machine it must be said', (given, host) => {
  expect(httpAddress(given, 'status-page')).toEqual({ kind: 'tcp', host, port: 9090 })
})

test('a path', () => {
  expect(httpAddress('unix:/run/../run/a.sock', 'status-page')).toEqual({ kind: 'unix', path: '/run/a.sock' })
})

test.each([
  '',
  ':',
  '0',
  '65536',
  '1e3',
  'app.internal:80',
  '::1:80',
  '[127.0.0.1]:80',
  '127.0.0.1',
  '256.0.0.1:80',
  'unix:a',
  'http://a:80',
])('%j is refused', (given) => {
  expect(() => httpAddress(given, 'status-page')).toThrow(
    expect.objectContaining({ code: 'ERR_USAGE', message: expect.stringContaining('--status-page') }),
  )
})
