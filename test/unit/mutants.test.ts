import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { run, schedules } from '../support/schedule.js'
import type { Step } from '../support/world.js'

/*
 * The invariants are worth what they find. Each mutant is the brain with one rule broken, as somebody might break it; the schedules must
 * find every one of them.
 */

const SRC = join(__dirname, '..', '..', 'src')
const directories: string[] = []
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true })
})

async function mutate(file: string, rule: string, broken: string): Promise<Step> {
  const directory = mkdtempSync(join(tmpdir(), 'rrm-'))
  directories.push(directory)
  cpSync(join(SRC, 'launcher', 'brain'), join(directory, 'launcher', 'brain'), { recursive: true })
  for (const shared of ['protocol.ts', 'control-protocol.ts']) cpSync(join(SRC, shared), join(directory, shared))
  const path = join(directory, 'launcher', 'brain', file)
  const source = readFileSync(path, 'utf8')
  // A mutant that changes nothing would be found by nobody, and say nothing.
  expect(source.split(rule), `${file}: ${rule}`).toHaveLength(2)
  writeFileSync(
    path,
    source.replace(rule, () => broken),
  )
  return ((await import(join(directory, 'launcher', 'brain', 'step.ts'))) as { step: Step }).step
}

/** What the schedules say of it; null when they find nothing. */
function found(brain: Step): string | null {
  for (const faults of [false, true]) {
    const property = fc.property(schedules(faults), (schedule) => void run(schedule, faults, brain))
    const details = fc.check(property, { numRuns: 1_500, seed: 1, endOnFailure: true })
    if (details.failed) return String(details.errorInstance)
  }
  return null
}

const MUTANTS: readonly (readonly [name: string, file: string, rule: string, broken: string])[] = [
  [
    'admits on time-out',
    'workers.ts',
    '  const doubt = worker.doubt === null',
    "  worker.state = 'ready'\n  proven(draft, worker)\n  if (draft.at >= 0) return\n  const doubt = worker.doubt === null",
  ],
  ['drains before it commits', 'reload.ts', "draft.order(old, { type: 'pause' })", 'draft.drain(old, false)'],
  [
    "drops the launcher's copy when a worker ends",
    'endings.ts',
    'delete state.workers[worker.id]',
    "delete state.workers[worker.id]\n  for (const { key } of draft.listeners)\n    draft.do({ do: 'close', sockets: [{ listener: key, slot: worker.slot }] })",
  ],
  [
    'does not wait for every candidate',
    'reload.ts',
    'candidates.length === run.batch.length && candidates.every(fits)',
    'candidates.some(fits)',
  ],
  [
    'admits without the health check',
    'reload.ts',
    "worker.state === 'ready' && worker.proof === 'proven')",
    "worker.state === 'ready')",
  ],
  ['admits a cold worker', 'workers.ts', "worker.proof = warms ? 'warming' : 'proven'", "worker.proof = 'proven'"],
  ['takes a failed health check for a good one', 'workers.ts', 'if (!event.passed) {', 'if (event.passed) {'],
  [
    'admits without the ready signal',
    'workers.ts',
    "return said || state.settings.ready === 'listening'",
    'return true',
  ],
  ['admits without listener.ready()', 'workers.ts', ' && !claims.some(isSilent)', ''],
  [
    'pauses the old ones before the new ones serve',
    'reload.ts',
    "all((worker) => worker.state === 'serving')",
    "all((worker) => worker.state === 'ready')",
  ],
  ['does not resume the old ones', 'bake.ts', 'acceptAgain(draft, old)', "draft.awaits(old, 'resume')"],
  ['never undoes', 'bake.ts', 'if (draft.of(run.from).some(canServe)) return undo', 'if (draft.at < 0) return undo'],
  [
    'drains the old ones in the bake',
    'bake.ts',
    "  run.step = 'bake'\n",
    "  run.step = 'bake'\n  for (const old of inBatch(draft, run, run.from)) draft.drain(old, false)\n",
  ],
  [
    'undoes without a new term',
    'working.ts',
    '  state.term += 1\n',
    '  if (state.working === null || number > state.working) state.term += 1\n',
  ],
  [
    'forgets the workers that it undid',
    'bake.ts',
    '  giveUp(draft, run)\n  draft.state.run = null',
    '  draft.state.run = null',
  ],
  ['leaves the socket of a dead worker alone', 'listeners.ts', 'listener.adoptedBy[slot] = sibling.id', 'continue'],
  [
    'starts a dead worker again without proof',
    'endings.ts',
    "draft.spawn(generation, number, 'respawn')",
    "draft.spawn(generation, number, 'first')",
  ],
  ['answers twice', 'reload.ts', "run.callers.filter(({ wait }) => wait !== 'retired'),", 'run.callers,'],
  [
    'answers nobody when it undoes',
    'bake.ts',
    "answer(draft, run, run.callers, verdictOf(draft, run, 'undone'))",
    "verdictOf(draft, run, 'undone')",
  ],
  [
    'tells a worker to drain before another one is told to accept',
    'draft.ts',
    "if (order.type === 'drain') this.afterwards(effect)",
    "if (order.type === 'drain') this.do(effect)",
  ],
  ['lays no lane when it undoes', 'lanes.ts', ' || isResuming(other)', ''],
  [
    'moves connections to a worker that stands still',
    'lanes.ts',
    " && !other.stuck && !draft.awaits(other, 'pause')",
    " && !draft.awaits(other, 'pause')",
  ],
  [
    'moves connections in the bake',
    'lanes.ts',
    'movesInBake(draft, worker)) layLanes',
    "worker.state === 'paused') layLanes",
  ],
  [
    'kills the last worker when it hangs',
    'endings.ts',
    'if (!isAnyWell && !hasSpare) continue',
    'if (draft.at < 0) continue',
  ],
  ['closes a socket that workers have', 'parking.ts', "} else if (parked.step === 'parked') letGo(draft, slot)", '}'],
  [
    'does not wait for whoever is silent',
    'parking.ts',
    '    if (parked.awaits.length > 0) continue\n',
    "    if (parked.awaits.length > 9) continue\n    parked.step = 'looking'\n    if (draft.at >= 0) { close(draft, Number(key)); continue }\n",
  ],
  [
    'does not narrow before it closes',
    'parking.ts',
    ' && !narrow(draft, listener, slot)) parkAgain(draft)',
    ' && draft.at < 0) parkAgain(draft)',
  ],
  [
    'does not know that the last one moves',
    'parking.ts',
    'if (index < order.length) order[index] = last',
    'if (index < order.length) {\n    order.push(last)\n    order.splice(index, 1)\n  }',
  ],
  [
    'sends connections to slots that are gone',
    'steering.ts',
    'state.parked[slot] === undefined && slot',
    'slot >= 0 && slot',
  ],
  [
    'closes without steering',
    'parking.ts',
    "'steering.refused', { address, reason })\n",
    "'steering.refused', { address, reason })\n  if (draft.at >= 0) return\n",
  ],
  [
    'takes the last worker that is well',
    'scale.ts',
    'return draft.members.some((worker)',
    'return draft.members.every((worker) => worker.slot >= 0) || draft.members.some((worker)',
  ],
  [
    'lets nobody accept what is parked',
    'listeners.ts',
    "const isLeft = draft.state.parked[slot] !== undefined && draft.state.parked[slot].step !== 'parked'",
    'const isLeft = draft.state.parked[slot] !== undefined',
  ],
  [
    'leaves its spares behind',
    'standby.ts',
    'if (run === null && spare.generation !== working) draft.kill(spare, null)\n    else if',
    'if',
  ],
  ['takes spares that are not proven', 'standby.ts', " && spare.state === 'ready' && spare.proof === 'proven'", ''],
  [
    'gives a canary its share before it accepts',
    'steering.ts',
    "worker.slot === slot && worker.state === 'serving' && listensOn",
    'worker.slot === slot && listensOn',
  ],
  ['gives a canary more than its share', 'steering.ts', 'slot !== leaving && slot !== canary', 'slot !== leaving'],
  ['adopts the socket of a canary', 'listeners.ts', ' || isCanarys(draft, slot)', ''],
  [
    'leaves the socket of a canary behind',
    'canary.ts',
    'for (const slot of left) park(draft, slot)',
    'for (const slot of draft.at < 0 ? left : []) park(draft, slot)',
  ],
  [
    'gives up a canary that has served like one that has not',
    'bake.ts',
    ' && run.canary?.since == null) return abort',
    ') return abort',
  ],
  [
    'takes a parked slot for a canary',
    'canary.ts',
    'while (!isFree(slot)) slot += 1',
    'while (draft.at < 0 && !isFree(slot)) slot += 1',
  ],
  ['promotes a canary and tells nobody', 'canary.ts', '  run.callers.push(caller)\n', ''],
  [
    'hands over to a canary',
    'reload.ts',
    'if (run.canary?.since === null) return beginCanary',
    'if (draft.at < 0 && run.canary?.since === null) return beginCanary',
  ],
  ['lets every generation live', 'reload.ts', 'const MOST_GENERATIONS = 3', 'const MOST_GENERATIONS = 30'],
  [
    'believes the newest generation, not the last word',
    'adopt.ts',
    'return last.working',
    'return Math.max(...workers.map((one) => one.generation))',
  ],
  ['adopts what was not proven', 'adopt.ts', '  for (const worker of held) draft.kill(worker, null)\n', ''],
  ['keeps the program of a launcher that is gone', 'adopt.ts', 'weights: [],', 'weights: null,'],
  ['forgets what was half done', 'adopt.ts', '  if (other === undefined) {', '  if (draft.at >= 0) {'],
  ['forgets which slots were being added', 'adopt.ts', '  resumeScale(draft)\n', ''],
  ['lets a latecomer stay', 'step.ts', '  settleLatecomers(draft)\n', ''],
  ['gives a latecomer a place', 'draft.ts', " && role !== 'latecomer'", ''],
  [
    'refuses a reload and tells nobody',
    'reload.ts',
    'for (const { id: caller } of run.callers)',
    'for (const { id: caller } of draft.at < 0 ? run.callers : [])',
  ],
  ['relieves two workers at once', 'relief.ts', '|| relief !== undefined ||', '||'],
  [
    'relieves a worker in a reload',
    'relief.ts',
    '    draft.kill(fresh, null)\n    delete state.relief\n',
    '    if (draft.at < 0) delete state.relief\n',
  ],
  [
    'lets the worn one go before another serves',
    'relief.ts',
    "else if (fresh.state === 'serving') done",
    "else if (fresh.state !== 'spawned') done",
  ],
  ['keeps the worn one', 'relief.ts', '  leave(draft, old)\n', ''],
  ['adopts a relief and the worn one', 'adopt.ts', 'if (taken.has(worker.slot)) leave(draft, worker)', ''],
  ['adopts no sockets', 'adopt.ts', '  for (const listener of event.listeners) addListener(draft, listener)\n', ''],
  ['begins its terms anew', 'adopt.ts', '  state.term = Math.max(0, ...event.workers.map(({ term }) => term))\n', ''],
]

describe('the schedules find a brain that', () => {
  it.each(MUTANTS)(
    '%s',
    async (_name, file, rule, broken) => {
      const what = found(await mutate(file, rule, broken))
      expect(what).not.toBeNull()
    },
    120_000,
  )
})
