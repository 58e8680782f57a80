import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Ending, explain, reasonOf } from '../../src/launcher/brain/ending.js'
import type { Worker } from '../../src/launcher/brain/state.js'
import { readOomKills } from '../../src/launcher/oom-kills.js'

const how = (end: Partial<Ending>): Ending => ({ code: null, signal: null, stderr: [], ...end })
const worker = (failure: string | null, pid: number | null = 42): Worker =>
  ({ slot: 1, pid, failure, lacks: null }) as Worker

describe('the end of a worker', () => {
  it.each([
    [{ code: 3 }, 'exited with code 3'],
    [{ code: 0 }, 'exited with code 0: nobody had asked it to end'],
    [{ signal: 'SIGKILL' }, 'was ended by SIGKILL'],
    [
      { signal: 'SIGKILL', oomKill: true },
      'was ended by SIGKILL: most likely out of memory: the kernel has just killed for want of it',
    ],
    [{ signal: 'SIGTERM', oomKill: true }, 'was ended by SIGTERM'],
    [{ signal: 'SIGSEGV' }, 'was ended by SIGSEGV: native code crashed'],
    [{ code: 139 }, 'exited with code 139 (SIGSEGV): native code crashed'],
    [
      {
        signal: 'SIGABRT',
        stderr: ['FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory'],
      },
      "was ended by SIGABRT: V8's heap limit was reached (--max-old-space-size)",
    ],
    [
      { code: 134, stderr: ['node: ../src/node_platform.cc: uv_thread_create failed'] },
      'exited with code 134 (SIGABRT): it could not start its threads: is there a limit on processes?',
    ],
    [{ signal: 'SIGABRT' }, 'was ended by SIGABRT: abort() was called: by native code, or by V8 at its heap limit'],
  ])('%j is named (A-09, A-11, A-23)', (end, words) => {
    expect(reasonOf(worker('it ended by itself'), how(end))).toBe(`the worker of slot 1 (pid 42) ${words}`)
  })

  it('is explained by what it did wrong, when that is why it was ended', () => {
    expect(reasonOf(worker('it did not listen'), how({ signal: 'SIGKILL', oomKill: true }))).toBe(
      'the worker of slot 1 (pid 42) was ended by SIGKILL: it did not listen',
    )
    expect(reasonOf(worker('app: no such file', null), how({ code: 127 }))).toBe(
      'the worker of slot 1 could not be started: app: no such file',
    )
    expect(reasonOf({ ...worker('it ended by itself'), lacks: '[::]:80 is in use' }, how({ code: 1 }))).toBe(
      'the worker of slot 1 (pid 42) exited with code 1: [::]:80 is in use',
    )
    expect(explain(how({ code: 1 }))).toBeNull()
  })
})

describe('the count of kills for want of memory', () => {
  function files(tree: Readonly<Record<string, string>>): string {
    const root = mkdtempSync(join(tmpdir(), 'rro-'))
    onTestFinished(() => rmSync(root, { recursive: true }))
    for (const [path, text] of Object.entries(tree)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    return root
  }

  it('is that of our own group where there is one, by either version, else of the machine (A-11)', () => {
    const vmstat = { 'proc/vmstat': 'nr_free 1\noom_kill 7\n' }
    expect(
      readOomKills(
        files({ ...vmstat, 'proc/self/cgroup': '0::/a\n', 'sys/fs/cgroup/a/memory.events': 'oom 3\noom_kill 2\n' }),
      ),
    ).toBe(2)
    expect(
      readOomKills(
        files({
          ...vmstat,
          'proc/self/cgroup': '9:memory:/b\n8:pids:/\n',
          'sys/fs/cgroup/memory/b/memory.oom_control': 'under_oom 0\noom_kill 5\n',
        }),
      ),
    ).toBe(5)
    expect(readOomKills(files(vmstat))).toBe(7)
    expect(readOomKills(files({}))).toBeNull()
  })
})
