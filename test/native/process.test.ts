import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { native, READABLE } from '../../src/native.js'
import { errorOf, systemError } from './support/errors'
import { resultOf } from './support/fixture'
import { flagsOf, openFiles, sameFilesAs } from './support/open-files'
import { shell, startShell, waitFor } from './support/shell'

const addon = native()
let before: number[]
let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'spawn-'))
  before = openFiles()
})
afterEach(async () => {
  await sameFilesAs(before)
  rmSync(directory, { recursive: true })
})

describe('spawn', () => {
  it('starts the program in the directory, with the arguments and the environment given', () => {
    expect(shell('pwd', { cwd: directory })).toMatchObject({ code: 0, signal: null, output: `${directory}\n` })
    expect(shell('echo "$0|$1|$2"', { argv: ['sh', '-c', 'echo "$0|$1|$2"', 'zero', 'a b', ''] }).output).toBe(
      'zero|a b|\n',
    )
    expect(shell('/usr/bin/env', { env: ['A=b c', 'UMLAUT=ü', 'EMPTY='] }).output.split('\n')).toEqual(
      expect.arrayContaining(['A=b c', 'UMLAUT=ü', 'EMPTY=']),
    )
  })

  it('gives it a session and a process group of its own', () => {
    const { pid, output } = shell('echo $$; cat /proc/$$/stat; true', { env: ['PATH=/usr/bin:/bin'] })
    const [own, stat = ''] = output.split('\n')
    // "pid (sh) state ppid pgrp session ..."
    expect(stat.split(' ').slice(4, 6)).toEqual([own, own])
    expect(pid).toBe(Number(own))
  })

  it('gives it 0, 1, 2 and nothing else, however it was opened here (I-11, J-03)', () => {
    const inheritable = addon.dup(0)
    addon.dup2(inheritable, inheritable)
    const all = [...addon.socketPair(), ...addon.pipe(false), addon.socket('unix', 'stream'), addon.dup(0), inheritable]
    expect(flagsOf(inheritable).closeOnExec).toBe(false)
    expect(shell('ls /proc/$$/fd; true').output).toBe('0\n1\n2\n')
    for (const fd of all) addon.close(fd)
  })

  it('gives it further descriptors from 3 on, and its own pid in a variable', () => {
    const [read, write] = addon.pipe(false)
    const sockets = addon.socketPair()
    const { pid, output } = shell('echo "$OWN_PID $$"; echo four >&4; ls /proc/$$/fd; true', {
      env: ['PATH=/usr/bin:/bin'],
      fds: [sockets[0], write, sockets[1]],
      pidVariable: 'OWN_PID',
    })
    expect(output).toBe(`${pid} ${pid}\n0\n1\n2\n3\n4\n5\n`)
    for (const fd of [write, ...sockets]) addon.close(fd)
    expect(readFileSync(read, 'utf8')).toBe('four\n')
    addon.close(read)
    expect(errorOf(() => shell('true', { fds: [9_999] }))).toMatchObject({ code: 'EBADF' })
  })

  it('gives it default dispositions and an empty mask: Node ignores SIGPIPE and SIGXFSZ', () => {
    expect(readFileSync('/proc/self/status', 'utf8')).toMatch(/SigIgn:\s+0*1001000/)
    const { output } = shell('exec grep -E "^Sig(Blk|Ign)" /proc/self/status')
    expect(output).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n')
  })

  it('takes any numbers as stdio, also the targets themselves and crossed', () => {
    const [read, write] = addon.pipe(false)
    const argv = ['sh', '-c', 'echo out; echo err >&2; ls -l /proc/$$/fd/0 | grep -c /dev/null']
    const input = openSync('/dev/null', 'r')
    const { pidfd } = addon.spawn({
      file: '/bin/sh',
      argv,
      env: ['PATH=/usr/bin:/bin'],
      cwd: '/',
      stdio: [input, write, write],
    })
    addon.close(write)
    waitFor(pidfd)
    expect(readFileSync(read, 'utf8')).toBe('out\nerr\n1\n')
    closeSync(input)
    addon.close(read)
    // Our own 2, 1 and 0 as its 0, 1 and 2: all of them open in the child.
    const crossed = addon.spawn({
      file: '/bin/sh',
      argv: ['sh', '-c', ': <&0 && : >&1 && : >&2'],
      env: [],
      cwd: '/',
      stdio: [2, 1, 0],
    })
    expect(waitFor(crossed.pidfd)).toEqual({ code: 0, signal: null })
  })

  it.runIf(process.getuid?.() === 0)('runs it as another user, without a way back', () => {
    const identity = { uid: 65_534, gid: 65_533, groups: [1_234, 65_533] }
    const { output } = shell('id; setpriv --reuid=0 true 2>/dev/null || echo no', { identity })
    expect(output.replace(/\(\w+\)/g, '')).toBe('uid=65534 gid=65533 groups=65533,1234\nno\n')
    expect(errorOf(() => shell('true', { identity, cwd: '/root' }))).toEqual(systemError('EACCES', 'chdir'))
    expect(errorOf(() => shell('true', { identity: { ...identity, groups: [-1] } }))).toBeInstanceOf(RangeError)
    // We are as before.
    expect(process.geteuid?.()).toBe(0)
  })

  it('says what failed and leaves no child', () => {
    expect(errorOf(() => shell('true', { file: '/no/such/program' }))).toEqual(systemError('ENOENT', 'execve'))
    expect(errorOf(() => shell('true', { cwd: '/no/such/directory' }))).toEqual(systemError('ENOENT', 'chdir'))
    expect(errorOf(() => shell('true', { cwd: '/etc/passwd' }))).toEqual(systemError('ENOTDIR', 'chdir'))
    expect(errorOf(() => shell('true', { file: '/etc/passwd' }))).toEqual(systemError('EACCES', 'execve'))
    expect(errorOf(() => shell('true', { stdio: [0, 1, 1_000_000] }))).toEqual(systemError('EBADF', 'fcntl'))
    const text = join(directory, 'no-shebang')
    writeFileSync(text, 'echo hello', { mode: 0o755 })
    expect(errorOf(() => shell('true', { file: text }))).toMatchObject({
      code: 'ENOEXEC',
      errno: -8,
      syscall: 'execve',
    })
    expect(errorOf(() => shell('true', { env: [`A=${'x'.repeat(4 * 1024 * 1024)}`] }))).toEqual(
      systemError('E2BIG', 'execve'),
    )
    expect(addon.peekExited()).toBe(0)
  })

  it('refuses what is not its contract', () => {
    const options = { file: '/bin/true', argv: ['true'], env: [], cwd: '/', stdio: [0, 1, 2] } as const
    for (const wrong of [undefined, null, 1, [], {}])
      expect(errorOf(() => addon.spawn(wrong as never))).toBeInstanceOf(TypeError)
    for (const wrong of [
      { file: 1 },
      { argv: 'true' },
      { env: [1] },
      { cwd: null },
      { stdio: {} },
      { file: '/bin/true\0' },
    ]) {
      expect(errorOf(() => addon.spawn({ ...options, ...wrong } as never))).toBeInstanceOf(TypeError)
    }
    for (const wrong of [{ stdio: [0, 1] }, { stdio: [0, 1, 2, 3] }, { stdio: [0, 1, -1] }]) {
      expect(errorOf(() => addon.spawn({ ...options, ...wrong } as never))).toBeInstanceOf(RangeError)
    }
  })
})

describe('a pidfd', () => {
  it('is readable when the process has ended, and says how', () => {
    expect(shell('exit 0')).toMatchObject({ code: 0, signal: null })
    expect(shell('exit 42')).toMatchObject({ code: 42, signal: null })
    expect(shell('kill -TERM $$')).toMatchObject({ code: null, signal: 'SIGTERM' })
    expect(shell('kill -KILL $$')).toMatchObject({ code: null, signal: 'SIGKILL' })
    expect(shell('ulimit -c 0; kill -SEGV $$')).toMatchObject({ code: null, signal: 'SIGSEGV' })
  })

  it('takes signals for as long as there is a process (K-09)', () => {
    const { pid, pidfd, output } = startShell('exec sleep 1000')
    expect(addon.pidfdWait(pidfd)).toBe(null)
    expect(addon.pidfdSignal(pidfd, 0)).toBe(true)
    expect(addon.pollSync(pidfd, READABLE, 0)).toBe(0)
    const second = addon.pidfdOpen(pid)
    expect(flagsOf(second).closeOnExec && flagsOf(pidfd).closeOnExec).toBe(true)
    expect(addon.pidfdSignal(second, 9)).toBe(true)
    expect(waitFor(second)).toEqual({ code: null, signal: 'SIGKILL' })
    expect(addon.pidfdSignal(pidfd, 9)).toBe(false)
    expect(errorOf(() => addon.pidfdWait(pidfd))).toMatchObject({ code: 'ECHILD', errno: -10, syscall: 'waitid' })
    expect(errorOf(() => addon.pidfdOpen(pid))).toEqual(systemError('ESRCH', 'pidfd_open'))
    addon.close(pidfd)
    closeSync(output)
  })

  it('of a process that is not our child can be watched, not waited for', () => {
    const pidfd = addon.pidfdOpen(process.ppid)
    expect(errorOf(() => addon.pidfdWait(pidfd))).toMatchObject({ code: 'ECHILD' })
    addon.close(pidfd)
  })

  it('must be one', () => {
    expect(errorOf(() => addon.pidfdSignal(0, 0))).toEqual(systemError('EBADF', 'pidfd_send_signal'))
    expect(errorOf(() => addon.pidfdOpen(0))).toBeInstanceOf(RangeError)
    expect(errorOf(() => addon.pidfdSignal(0, 65))).toBeInstanceOf(RangeError)
  })
})

describe('signalGroup', () => {
  it('reaches everything that the worker has started', () => {
    const { pid, pidfd, output } = startShell('sleep 1000 & echo $!; wait')
    expect(addon.pollSync(output, READABLE, 10_000)).toBe(READABLE)
    const grandchild = addon.pidfdOpen(Number(readSome(output)))
    expect(addon.signalGroup(pid, 15)).toBe(true)
    expect(waitFor(pidfd)).toEqual({ code: null, signal: 'SIGTERM' })
    expect(addon.pollSync(grandchild, READABLE, 10_000)).toBe(READABLE)
    addon.close(grandchild)
    closeSync(output)
  })

  it('is false when there is no such group any more', () => {
    const { pid, pidfd, output } = startShell('exit')
    waitFor(pidfd)
    closeSync(output)
    expect(addon.signalGroup(pid, 0)).toBe(false)
  })

  it('refuses the numbers that mean more than one group', () => {
    for (const wrong of [1, 0, -1]) expect(errorOf(() => addon.signalGroup(wrong, 0))).toBeInstanceOf(RangeError)
  })
})

describe('a subreaper', () => {
  it('sees and reaps an orphan, and takes no child from libuv', async () => {
    expect(await resultOf('reap-orphan.cjs')).toEqual({
      adopted: true,
      peekedTwice: true,
      reaped: true,
      again: false,
      gone: true,
      libuv: { peeked: true, code: 5 },
      none: 0,
    })
  })

  it('does not reap a process that still runs, nor one that is not there', () => {
    const { pid, pidfd, output } = startShell('exec sleep 1000')
    expect(addon.reap(pid)).toBe(false)
    expect(addon.reap(2 ** 22 + 1)).toBe(false)
    for (const wrong of [0, -1]) expect(errorOf(() => addon.reap(wrong))).toBeInstanceOf(RangeError)
    addon.pidfdSignal(pidfd, 9)
    waitFor(pidfd)
    closeSync(output)
  })
})

describe('a private network', () => {
  it.runIf(process.getuid?.() === 0)('has a loopback that is up, ports of its own, and nothing else', async () => {
    expect(await resultOf('private-network.cjs')).toEqual({
      isAnother: true,
      interfaces: ['lo'],
    })
  })
})

function readSome(fd: number): string {
  const buffer = Buffer.alloc(100)
  return buffer.toString('utf8', 0, readSync(fd, buffer))
}
