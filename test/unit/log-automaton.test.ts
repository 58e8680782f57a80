import { expect, it } from 'vitest'
import { type Logged, violation } from '../support/log-automaton.js'

/* The automaton that the log of every launcher of the tests is replayed through: logs as they are, and with one thing wrong. */

const worker = (
  msg: string,
  slot: number | null,
  generation: number,
  workerPid: number,
  more: object = {},
): Logged => ({
  msg: `worker.${msg}`,
  slot,
  generation,
  workerPid,
  ...more,
})
const reload = (msg: string, id: number, more: object = {}): Logged => ({ msg: `reload.${msg}`, id, ...more })
const say = (msg: string, more: object = {}): Logged => ({ msg, ...more })

const START = [
  say('launcher.started'),
  worker('spawned', 0, 1, 10),
  worker('spawned', 1, 1, 11),
  worker('serving', 0, 1, 10),
  worker('serving', 1, 1, 11),
  say('launcher.serving'),
]
const CANDIDATES = [
  reload('started', 1, { from: 1, to: 2 }),
  worker('spawned', 0, 2, 20),
  worker('spawned', 1, 2, 21),
  worker('serving', 0, 2, 20),
  worker('serving', 1, 2, 21),
  reload('admitted', 1),
  reload('baking', 1),
]
const RELOAD = [
  ...CANDIDATES,
  reload('done', 1),
  worker('drained', 0, 1, 10),
  worker('exited', 0, 1, 10),
  worker('drained', 1, 1, 11),
  worker('exited', 1, 1, 11),
  reload('retired', 1),
]
const UNDO = [
  ...CANDIDATES,
  worker('exited', 0, 2, 20),
  reload('undoing', 1),
  worker('resumed', 0, 1, 10),
  worker('resumed', 1, 1, 11),
  reload('undone', 1),
  worker('drained', 1, 2, 21),
  worker('exited', 1, 2, 21),
  reload('retired', 1),
]
const STOP = [
  say('launcher.stopping'),
  worker('drained', 0, 2, 20),
  worker('exited', 0, 2, 20),
  worker('drained', 1, 2, 21),
  worker('exited', 1, 2, 21),
  say('launcher.stopped'),
]
const WHOLE = [...START, ...RELOAD, ...STOP]

/** The log without the first line that is so. */
const without = (log: readonly Logged[], msg: string): Logged[] => {
  const at = log.findIndex((event) => event.msg === msg)
  expect(at, msg).not.toBe(-1)
  return log.filter((_, index) => index !== at)
}
/** With its last line of this name once more, at its end. */
const again = (log: readonly Logged[], msg: string): Logged[] => [
  ...log,
  log.filter((event) => event.msg === msg).at(-1) as Logged,
]

it.each<[string, readonly Logged[]]>([
  ['a start, a reload, a stop', WHOLE],
  ['a reload that is undone', [...START, ...UNDO]],
  ['nothing', []],
  ['a log in which nothing is said of the protocol', [say('signal'), say('http.listening')]],
  [
    'a launcher that takes over in the middle of a bake, and is upgraded',
    [
      say('adoption.started'),
      say('adoption.collected'),
      say('launcher.started'),
      worker('adopted', 0, 3, 10, { state: 'paused' }),
      worker('adopted', 0, 4, 20, { state: 'serving' }),
      worker('adopted', 0, 2, 30, { state: 'draining' }),
      say('launcher.adopted', { generation: 4 }),
      reload('admitted', 7),
      reload('done', 7),
      worker('exited', 0, 3, 10),
      reload('retired', 7),
      say('upgrade.started'),
      say('upgrade.done'),
      reload('started', 8, { from: 4, to: 5 }),
    ],
  ],
  [
    'a launcher that gives up what was begun before it',
    [
      say('adoption.started'),
      say('adoption.collected'),
      say('launcher.started'),
      worker('adopted', 0, 1, 10, { state: 'serving' }),
      reload('aborted', 7),
      say('launcher.adopted', { generation: 1 }),
      say('scale.done'),
    ],
  ],
  [
    'a wrapper: another process listens',
    [...START.slice(0, 3), worker('serving', 0, 1, 99), worker('exited', 0, 1, 99)],
  ],
  [
    'a warm spare gets a slot',
    [
      ...START,
      worker('spawned', null, 1, 12),
      worker('exited', 0, 1, 10),
      say('standby.used', { slot: 0, generation: 1, workerPid: 12 }),
      worker('serving', 0, 1, 12),
    ],
  ],
  ['a pid that comes again', [...START, worker('exited', 0, 1, 10), worker('spawned', 0, 1, 10)]],
])('right: %s', (_, log) => {
  expect(violation(log)).toBeNull()
  // Whoever is killed leaves the first part of a log.
  for (let length = 0; length < log.length; length++) expect(violation(log.slice(0, length))).toBeNull()
})

it.each<[string, readonly Logged[], string]>([
  ['it serves twice', again(START, 'launcher.serving'), 'it is serving'],
  ['it takes over and has asked nobody', [say('launcher.started'), say('launcher.adopted')], 'it is starting'],
  ['it was not started', without(WHOLE, 'launcher.started'), 'worker.spawned: nobody has begun this generation'],
  [
    'it has stopped, and a worker lives',
    [...START, say('launcher.stopping'), say('launcher.stopped')],
    'have not exited: 10, 11',
  ],
  ['a worker was not started', without(START, 'worker.spawned'), 'worker.serving of a worker that was not started'],
  ['a worker serves twice', again(START, 'worker.serving'), 'worker.serving: it is serving'],
  ['a worker serves after its drain', [...START, worker('drained', 0, 1, 10), worker('serving', 0, 1, 10)], 'leaving'],
  ['a worker exits twice', again(WHOLE.slice(0, -1), 'worker.exited'), 'it has exited'],
  ['one that never served resumes', [...START.slice(0, 2), worker('resumed', 0, 1, 10)], 'it is spawned'],
  ['one comes back that was there', [...START, worker('back', 0, 1, 10)], 'it was there'],
  ['a worker is in two slots', [...START, worker('resumed', 1, 1, 10)], 'its slot is 0'],
  ['a worker changes its generation', [...START, worker('resumed', 0, 2, 10)], 'its generation is 1'],
  ['a pid twice', [...START, worker('spawned', 0, 1, 10)], 'it is there'],
  ['a generation that nobody has begun', [...START, worker('spawned', 0, 2, 20)], 'nobody has begun this generation'],
  ['a reload that was not started', [...START, ...RELOAD.slice(5)], 'this reload was not started'],
  ['two reloads at a time', [...START, ...RELOAD.slice(0, 2), reload('started', 2, { to: 3 })], 'reload 1 runs'],
  ['a reload goes back to an old number', [...START, ...RELOAD, reload('started', 1, { to: 3 })], 'begun before'],
  ['a generation is begun again', [...START, ...RELOAD, reload('started', 2, { to: 2 })], 'begun before'],
  ['done before all are admitted', without([...START, ...RELOAD], 'reload.admitted'), 'reload.done: it is baking'],
  ['undone without a word before', without([...START, ...UNDO], 'reload.undoing'), 'reload.undone: it is admitted'],
  ['aborted after the handover', [...START, ...CANDIDATES, reload('aborted', 1)], 'it is admitted'],
  ['two verdicts', [...START, ...RELOAD, reload('aborted', 1)], 'it is retired'],
  ['retired before it is done', without([...START, ...RELOAD], 'reload.done'), 'reload.retired: it is admitted'],
  ['a reload begins in a stop', [...START, say('launcher.stopping'), reload('started', 1, { to: 2 })], 'stops'],
  ['a worker is started after the end', [...WHOLE, worker('spawned', 0, 2, 30)], 'has stopped'],
  ['an upgrade ends that has not begun', [...START, say('upgrade.done')], 'upgrade.done: it is none'],
  ['a scale ends that has not begun', [...START, say('scale.done')], 'scale.done: it is none'],
  ['a socket is closed that was not parked', [...START, say('socket.closed', { slot: 1 })], 'it is none'],
])('wrong: %s', (_, log, why) => {
  expect(violation(log)?.why).toContain(why)
})

it('says which line it is', () => {
  const at = START.length + RELOAD.length
  expect(violation([...START, ...RELOAD, reload('aborted', 1)])).toEqual({ at, why: 'reload.aborted: it is retired' })
})
