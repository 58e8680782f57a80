// How long it takes to ask what runs: in a process that has asked before, and as a command.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { median, ms, ratio, tableOf } from '../figures.mjs'

const execute = promisify(execFile)

const SUBJECT = 'reuseport-run'

export const title = 'Asking what runs'
export const contenders = [SUBJECT, 'pm2']
export const rounds = 5
export const plan = { calls: 200, runs: 7 }
export const smoke = { calls: 2, runs: 1 }

/** `node`: what a command of Node takes that does nothing. All are ms. */
export async function measure({ contender, plan: { calls, runs } }) {
  const { look, commands, leave } = await contender.control()
  const timed = async (count, work) => {
    const times = []
    for (let n = 0; n < count; n++) {
      const begun = performance.now()
      await work()
      times.push(performance.now() - begun)
    }
    return median(times)
  }
  await look()
  const call = await timed(calls, look)
  leave()
  const found = { call, node: await timed(runs, () => execute(process.execPath, ['-e', '0'])), commands: {} }
  for (const [name, { words, env }] of Object.entries(commands))
    found.commands[name] = await timed(runs, () => execute(process.execPath, words, { env }))
  return found
}

export function page(found) {
  const node = median(Object.values(found).flatMap((all) => all.map((round) => round.node)))
  const own = (round) => found[SUBJECT][round]
  const [ownCommand] = Object.keys(own(0).commands)
  const rows = Object.entries(found).flatMap(([name, all]) => [
    [
      `${name}, in a process that asks again`,
      ms(median(all.map(({ call }) => call))),
      ratio(median(all.map(({ call }, round) => call / own(round).call))),
    ],
    ...Object.keys(all[0].commands).map((command) => [
      `\`${command}\``,
      ms(median(all.map(({ commands }) => commands[command]))),
      ratio(median(all.map(({ commands }, round) => commands[command] / own(round).commands[ownCommand]))),
    ]),
  ])
  return `Two workers that have nothing else to do. In a process: a connection and its answer here, a call of its API with pm2. A command is timed from its
start to its end, with the start of Node, which is there for comparison. Times are against those of the same kind here.

${tableOf(['', 'ms', 'ratio'], [...rows, ['`node -e 0`', ms(node), '']])}
`
}

/** There is none: it is to be known. */
export const goals = () => []
