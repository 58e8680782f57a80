import { closeSync, openSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { type Refused, tryOut } from '../../src/launcher/upgrade/pre-flight.js'
import { isAlive, marked } from '../support/processes'
import { until } from '../support/until'

const owned: number[] = []

/** What becomes of a shell as new launcher. */
async function tried(script: string, deadlineMs = 10_000): Promise<Refused> {
  const state = openSync('/dev/null', 'r')
  onTestFinished(() => closeSync(state))
  const successor = { file: '/bin/sh', argv: ['sh', '-c', script] as const, own: 3 }
  const own = (pid: number): (() => void) => {
    owned.push(pid)
    return () => owned.splice(owned.indexOf(pid), 1)
  }
  const env = { PATH: process.env['PATH'], MARK: `pre-flight-${process.pid}` }
  return tryOut(successor, { directory: '/', state, env, own, deadlineMs }).then(
    () => {
      throw new Error('it was let in')
    },
    (error: Refused) => error,
  )
}

test('one that says nothing is ended at the deadline, with all that it has started (C-08)', async () => {
  const { message, stderr } = await tried('echo I think >&2; sleep 60 & sleep 60', 300)
  expect(message).toBe('the new launcher did not say within 300 ms that it could take over')
  expect(stderr).toEqual(['I think'])
  // SIGKILL was sent to the group; init's child of it dies a moment after its shell was reaped.
  const left = () => marked(`MARK=pre-flight-${process.pid}`).filter(({ pid }) => isAlive(pid))
  await until('nothing is left of it', () => left().length === 0)
  expect(owned).toEqual([])
})

test('one that says a lot, or the wrong thing, is refused with the end of it', async () => {
  const { message, stderr } = await tried('seq 100000 >&2; seq 100000')
  expect(message).toBe('the new launcher is no reuseport-run that can')
  expect(stderr).toHaveLength(20)
  expect(stderr.at(-1)).toBe('100000')
})

test('it has the state as descriptor 3, and nothing else of ours', async () => {
  const { stderr } = await tried('echo "$REUSEPORT_RUN_STATE" >&2; ls /proc/self/fd >&2')
  // 4 is the directory that is listed.
  expect(stderr).toEqual(['3', '0', '1', '2', '3', '4'])
})
