/** The load process of a piece (load.mjs, or another one that is spoken to as that), seen from the piece. */
import { fork } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from '../build.mjs'
import { until } from './until.mjs'

const require = createRequire(import.meta.url)
const { readNetworkCounters, countersBetween } = require('../../dist/kernel-counters.js')

const LOAD = join(root, 'scripts', 'steering', 'load.mjs')
/** Where clients are that are not elsewhere. */
const HERE = { under: [], host: '127.0.0.1' }

export class Clients {
  requests = 0
  #child
  #taken
  #ended
  #before = readNetworkCounters()

  /**
   * Starts clients and waits for the first answers. `who`: how many of which kind `script` is to have; of load.mjs `fresh` ones open a connection for each
   * request, `kept` ones have one. `network`: words in front of their Node, and the address at which they find the program.
   */
  static async start({ port, network = HERE, script = LOAD, ...who }) {
    const clients = new Clients(network, script)
    clients.#child.send({ start: { target: { host: network.host, port }, kept: 0, ...who } })
    await until('the first answers', async () => (await clients.take()).requests > 0)
    return clients
  }

  constructor({ under }, script) {
    const [execPath, ...first] = [...under, process.execPath]
    this.#child = fork(script, {
      ...(under.length === 0 ? {} : { execPath, execArgv: first }),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child.on('message', ({ taken, isEnd }) => {
      this.requests += taken.requests
      const tell = isEnd ? this.#ended : this.#taken
      tell(taken)
    })
  }

  /** One more fresh request every so many ms, whatever becomes of the others; 0: no more. */
  pace(ms) {
    this.#child.send({ paceMs: ms })
  }

  /** What they have met since the last time. */
  take() {
    return new Promise((done) => {
      this.#taken = done
      this.#child.send({ take: true })
    })
  }

  /** The end of all of them, with what they have met since the last take; and what the kernel has counted from the begin to now. */
  async end() {
    const taken = await new Promise((done) => {
      this.#ended = done
      this.#child.send({ end: true })
    })
    return { taken, counters: countersBetween(this.#before, readNetworkCounters()) }
  }

  kill() {
    this.#child.kill('SIGKILL')
  }
}
