/**
 * Entry of the load process: a process of its own, so that neither the launcher's control traffic nor the reload loop can delay a
 * client and be taken for a slow server.
 */
import { Unfit } from './clients.js'
import { Load } from './load.js'
import type { FromLoad, LoadOptions, ToLoad } from './messages.js'

const PROGRESS_EVERY_MS = 200

let load: Load | null = null
let launcherPid: number | null = null

process.on('message', (message: ToLoad) => {
  switch (message.type) {
    case 'guard':
      launcherPid = message.launcherPid
      break
    case 'start':
      void start(message.options)
      break
    case 'end':
      void end()
      break
  }
})

// `verify` was killed and could not clean up: nobody else knows the launcher.
process.on('disconnect', () => {
  try {
    if (launcherPid !== null) process.kill(launcherPid, 'SIGTERM')
  } finally {
    process.exit(1)
  }
})

async function start(options: LoadOptions): Promise<void> {
  const begun = new Load(options)
  load = begun
  try {
    await begun.start()
  } catch (error) {
    if (!(error instanceof Unfit)) throw error
    send({ type: 'unfit', request: error.request, reason: error.message })
    return
  }
  send({ type: 'under-way' })
  const { recorder } = begun
  setInterval(
    () => send({ type: 'progress', requests: recorder.requests, lost: recorder.lost }),
    PROGRESS_EVERY_MS,
  ).unref()
}

async function end(): Promise<void> {
  if (load === null) return
  await load.end()
  const { recorder } = load
  send({ type: 'results', tallies: recorder.tallies(), incidents: recorder.incidents() })
}

function send(message: FromLoad): void {
  process.send?.(message)
}
