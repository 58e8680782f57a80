import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { takeEnvironment } from './environment'
import { passOn } from './pass-on'
import { isOtherRuntime, mayLoadAddon } from './step-aside'

/** Published by net.Server.listen() before it does anything (Node 20.19): what a server needs from us is loaded only then. */
const LISTEN_STARTS = 'tracing:net.server.listen:asyncStart'

const handed = isOtherRuntime() ? undefined : takeEnvironment(__filename)
if (handed !== undefined && mayLoadAddon(handed)) {
  const endPassingOn = handed.thread === 0 ? passOn(handed) : () => {}
  const install = (): void => {
    // Not inside the channel's own loop over its subscribers.
    process.nextTick(() => unsubscribe(LISTEN_STARTS, install))
    const { installListenHook } = require('./listen-hook') as typeof import('./listen-hook')
    installListenHook(handed, endPassingOn)
  }
  subscribe(LISTEN_STARTS, install)
}
