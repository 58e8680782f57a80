import { describe, expect, it } from 'vitest'
import { LiveBlock, progressLines, whileShowing } from '../../src/cli/progress.js'
import { describeVerdict } from '../../src/cli/verdict.js'
import type { CanaryReport, ReloadProgress, Verdict } from '../../src/control-protocol.js'

const done: Verdict = {
  id: 3,
  result: 'done',
  step: 'retire',
  reason: null,
  stderr: [],
  changes: [],
  from: 1,
  to: 2,
  undo: null,
  notes: [],
  canary: null,
  workers: [
    {
      slot: 0,
      oldPid: 11,
      newPid: 21,
      ms: { spawned: 5, ready: 80.1, admitted: 81, paused: 82 },
      kept: 7,
      warmup: null,
      answered: null,
      moved: 0,
      closed: 0,
      cut: 0,
      kinds: {},
      requests: [],
      moreRequests: 0,
    },
  ],
  draining: 1,
  kernel: { shared: true, OutRsts: 0, ListenDrops: 0, ListenOverflows: 0 },
}
const KERNEL = '  kernel (whole network namespace): OutRsts +0, ListenDrops +0, ListenOverflows +0'

describe('a verdict in words', () => {
  it('of a reload that is done', () => {
    const changes = [{ what: 'directory', from: '/srv/1', to: '/srv/2' }]
    expect(describeVerdict({ ...done, changes }, null).split('\n')).toEqual([
      'generation 2 serves; generation 1 has handed over',
      '  changed: directory: /srv/1 → /srv/2',
      '  slot 0: 11 → 21  spawned 5 ms, ready 80.1 ms, admitted 81 ms, paused 82 ms; 7 connections kept',
      '  1 old worker is still draining: reuseport-run status',
      KERNEL,
      '',
    ])
  })

  it('of one that has retired: what became of the connections, by kind, and what was cut', () => {
    const request = {
      kind: 'http',
      method: 'GET',
      path: '/dump\x1b',
      ageMs: 42_000,
      bytesWritten: 7,
      bytesRead: 90,
    } as const
    const worker = {
      ...(done.workers[0] as Verdict['workers'][0]),
      moved: 5,
      closed: 3,
      cut: 1,
      kinds: {
        http: { moved: 5, closed: 1, cut: 1 },
        websocket: { moved: 0, closed: 2, cut: 0 },
      },
      requests: [request, { ...request, ageMs: null }],
      moreRequests: 4,
    }
    const lines = describeVerdict({ ...done, draining: 0, workers: [worker] }, null).split('\n')
    expect(lines[1]).toContain('; connections: 5 moved (5 http), 3 closed (1 http, 2 websocket), 1 cut (1 http)')
    expect(lines.slice(2, 5)).toEqual([
      '    cut: http GET /dump\\x1b, after 42 s, 7 bytes sent, 90 received',
      '    cut: http GET /dump\\x1b, 7 bytes sent, 90 received',
      '    and 4 more',
    ])
  })

  it('of one that still bakes', () => {
    expect(describeVerdict({ ...done, step: 'handover' }, null).split('\n')).toContain(
      'generation 2 serves; generation 1 is kept until the bake has passed',
    )
  })

  it('of one that was undone: why, what it wrote, and how fast', () => {
    const undone: Verdict = {
      ...done,
      result: 'undone',
      step: 'bake',
      reason: 'the worker of slot 0 (pid 21) exited with code 7',
      stderr: ['Error: no database'],
      undo: { ms: 4.2 },
      notes: ['slot 1: rolled back by restart'],
      workers: [{ ...done.workers[0], answered: { responses: 100, errors: 3 } } as Verdict['workers'][0]],
    }
    const lines = describeVerdict(undone, null).split('\n')
    expect(lines.slice(0, 4)).toEqual([
      'reload undone in step bake: the worker of slot 0 (pid 21) exited with code 7',
      '    | Error: no database',
      'generation 1 accepted again 4.2 ms after the fault was noticed',
      '  note: slot 1: rolled back by restart',
    ])
    expect(lines[4]).toContain('7 connections kept; 3 of 100 answers were 5xx')
    expect(lines[5]).toBe('  1 new worker is still draining: reuseport-run status')
  })

  it('of a canary that was undone: nobody had stopped serving', () => {
    const lines = describeVerdict(
      { ...done, result: 'undone', step: 'canary', reason: 'why', undo: { ms: 0 }, canary, draining: 0 },
      null,
    ).split('\n')
    expect(lines.slice(0, 5)).toEqual([
      'reload undone in step canary: why',
      'generation 1 serves on',
      '  canary: slot 2, pid 31, 0.5 % of the clients, watched for 48 s',
      '    it      41 connections, 160 answers, half of them within 1.2 ms, 95 % within 4.8 ms; 2 of them 5xx',
      '    others  900 connections, 0 answers; 0 of them 5xx',
    ])
  })

  it('of one that was aborted', () => {
    const lines = describeVerdict(
      { ...done, result: 'aborted', step: 'probe', reason: 'why', draining: 0 },
      null,
    ).split('\n')
    expect(lines.slice(0, 2)).toEqual(['reload aborted in step probe: why', 'generation 1 serves on'])
  })
})

const canary: CanaryReport = {
  slot: 2,
  pid: 31,
  share: 0.005,
  by: 'client',
  ms: 48_000,
  promoted: null,
  canary: { connections: 41, responses: 160, errors: 2, p50Ms: 1.2, p95Ms: 4.8 },
  others: { connections: 900, responses: 0, errors: 0, p50Ms: null, p95Ms: null },
}

const progress: ReloadProgress = {
  id: 3,
  step: 'probe',
  from: 1,
  to: 2,
  ms: 1_260,
  waiting: 0,
  canary: null,
  slots: [
    { slot: 0, oldPid: 11, newPid: 21, phase: 'probing' },
    { slot: 1, oldPid: 12, newPid: null, phase: 'waiting' },
  ],
}

describe('the live block', () => {
  it('has a line per worker with its phase', () => {
    expect(progressLines(progress)).toEqual([
      'reload 3: probe, 1.3 s, generation 1 → 2',
      '  slot 0: 11 → 21  probing',
      '  slot 1: 12 → -  waiting',
    ])
  })

  it('has a canary, and what is left of its time', () => {
    const lines = (more: Partial<CanaryReport>, leftMs: number | null): string[] =>
      progressLines({ ...progress, canary: { ...canary, ...more, leftMs } })
    expect(lines({ by: 'random' }, 72_000)[1]).toBe(
      '  canary: slot 2, pid 31, 0.5 % of the connections, watched for 48 s, 72 s left',
    )
    expect(lines({ promoted: 'order' }, null)[1]).toMatch(/watched for 48 s, promoted by order$/)
    expect(lines({ ms: null, pid: null }, null).slice(1, 3)).toEqual([
      '  canary: slot 2, pid -, 0.5 % of the clients, not admitted yet',
      '  slot 0: 11 → 21  probing',
    ])
  })

  it('says that one more reload will follow', () => {
    expect(progressLines({ ...progress, waiting: 3 })[0]).toBe(
      'reload 3: probe, 1.3 s, generation 1 → 2; one more waits',
    )
  })

  it('is drawn over itself, never wider than the screen, and leaves nothing', () => {
    let out = ''
    const write = (text: string): void => {
      out += text
    }
    const block = new LiveBlock({ write, columns: 10 })
    block.draw(['a line that is too long', 'b'])
    expect(out).toBe('a line th\nb\n')
    out = ''
    block.draw(['c'])
    expect(out).toBe('\x1b[2A\x1b[Jc\n')
    out = ''
    block.clear()
    expect(out).toBe('\x1b[1A\x1b[J')
  })

  it('is shown until the work has ended, whatever becomes of the looking', async () => {
    let out = ''
    const write = (text: string): void => {
      out += text
    }
    let looks = 0
    let finish = (_: string): void => {}
    const work = new Promise<string>((resolve) => {
      finish = resolve
    })
    const look = async (): Promise<ReloadProgress> => {
      looks += 1
      if (looks === 1) throw new Error('busy')
      if (looks === 3) finish('verdict')
      return progress
    }
    expect(await whileShowing(work, look, { write })).toBe('verdict')
    expect(out).toContain('slot 0: 11 → 21  probing')
    expect(out.endsWith('\x1b[3A\x1b[J')).toBe(true)
  })
})
