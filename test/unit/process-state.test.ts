import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { doingOf } from '../../src/launcher/process-state.js'
import { until } from '../support/until.js'

test('what a process does is read from its state', async () => {
  expect(doingOf(process.pid)).toBe('it is busy (a loop, or long work without a pause)')
  const child = spawn('sleep', ['60'])
  const pid = child.pid as number
  try {
    await until('it sleeps', () => doingOf(pid) === 'it waits in a call that blocks its event loop')
    child.kill('SIGSTOP')
    await until('it is stopped', () => doingOf(pid) === 'it is stopped (SIGSTOP)')
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  expect(doingOf(pid)).toBeNull()
})
