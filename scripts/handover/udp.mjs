// UDP from process to process: an open loop of numbered datagrams, none of which is sent again.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { BUFFER_BYTES, DATAGRAM_HANDOVERS, DATAGRAM_RATES, STARTS } from './plan.mjs'

const MOST = 2 ** 24
/** For what was sent last. */
const LAST_MS = 3_000
const PORT = 3004

class Load {
  sent = 0
  #answers = new Uint8Array(MOST)
  #answered = 0
  #twice = 0
  #socket = createSocket('udp4')
  #goes = true
  #loop

  async begin(rate) {
    this.#socket.on('message', (data) => {
      const count = ++this.#answers[Number(data.toString('latin1', data.indexOf(32) + 1))]
      if (count === 1) this.#answered++
      else this.#twice++
    })
    this.#socket.connect(PORT, '127.0.0.1')
    await once(this.#socket, 'connect')
    this.#socket.setRecvBufferSize(BUFFER_BYTES)
    this.#loop = this.#send(rate / 1000)
  }

  async #send(perMs) {
    const from = performance.now()
    while (this.#goes && this.sent < MOST) {
      // What is late is not made up for all at once: that would be another rate.
      const due = Math.min((performance.now() - from) * perMs, this.sent + 64)
      while (this.sent < due) this.#socket.send(String(this.sent++))
      await setImmediate()
    }
    this.rate = Math.round((this.sent / (performance.now() - from)) * 1000)
  }

  async end() {
    this.#goes = false
    await this.#loop
    const deadline = performance.now() + LAST_MS
    while (this.#answered < this.sent && performance.now() < deadline) await setTimeout(5)
    this.#socket.close()
    return { rate: this.rate, sent: this.sent, lost: this.sent - this.#answered, twice: this.#twice }
  }
}

/** Datagrams for which a socket's buffer had no room. */
function overflows() {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '))
  return Number(values[names.indexOf('RcvbufErrors')])
}

/** `start`, `ready`, `gone`: as in piece.mjs. */
export async function datagrams(directory, { start, ready, gone }) {
  const only = { http: undefined, https: undefined, net: undefined, unix: undefined, recvBufferSize: BUFFER_BYTES }
  const next = (where, udp) => start(where, { ...only, udp })
  let now = next(directory, PORT)
  await ready(now)

  /** As many processes start, of another row: what that costs is no handover's. */
  const tried = []
  for (const rate of DATAGRAM_RATES) {
    const load = new Load()
    await load.begin(rate)
    for (let one = 0; one < STARTS; one++) {
      const home = mkdtempSync(join(directory, 'other-'))
      const other = next(home, PORT + 1)
      await ready(other)
      other.child.kill('SIGKILL')
      await gone(other)
    }
    tried.push({ asked: rate, ...(await load.end()) })
    if (tried.at(-1).lost === 0 && tried.at(-1).rate > rate * 0.95) break
  }

  const { asked } = tried.at(-1)
  const before = overflows()
  const load = new Load()
  await load.begin(asked)
  const each = []
  for (let handover = 0; handover < DATAGRAM_HANDOVERS; handover++) {
    const old = now
    const at = performance.now()
    now = next(directory, PORT)
    await ready(now)
    await gone(old)
    each.push({ ms: Math.round(performance.now() - at), code: old.code })
  }
  const found = await load.end()
  now.child.kill('SIGKILL')
  await gone(now)
  return { ...found, requests: found.sent, asked, tried, each, overflows: overflows() - before }
}
