/** Steering programs are put on a group one after the other, by a user without privilege, while clients connect. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { root } from '../build.mjs'
import { Clients } from './clients.mjs'
import { PORT, UNPRIVILEGED } from './service.mjs'

export async function swaps({ swaps: wanted, sockets = 4 }) {
  const [execPath, ...execArgv] = UNPRIVILEGED
  const group = fork(join(root, 'scripts', 'steering', 'group.mjs'), {
    ...{ execPath, execArgv },
    env: { ...process.env, PORT: String(PORT), SOCKETS: String(sockets) },
  })
  let clients
  try {
    await once(group, 'message')
    clients = await Clients.start({ port: PORT, fresh: 32 })
    await clients.take()
    group.send(wanted)
    const [{ slowest, uid }] = await once(group, 'message')
    const { lost, fresh } = await clients.take()
    const { taken, counters } = await clients.end()
    const all = [...lost, ...taken.lost]
    const reasons = []
    if (all.length > 0) reasons.push(`${all.length} lost: ${JSON.stringify(all.slice(0, 5))}`)
    if (uid === 0) reasons.push('it was root')
    const met = new Set(fresh.map(([, , , by]) => by)).size
    if (met !== sockets) reasons.push(`only ${met} of ${sockets} sockets were met`)
    return { reasons, figures: { swaps: wanted, connections: fresh.length, lost: all.length, slowest, uid, counters } }
  } finally {
    clients?.kill()
    group.kill('SIGKILL')
  }
}
