// UDP from process to process: an open loop of numbered datagrams, none of which is sent again.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root, run } from '../build.mjs'
import { BUFFER_BYTES, DATAGRAM_HANDOVERS, DATAGRAM_RATES, STARTS } from './plan.mjs'

const PORT = 3004
const source = join(root, 'scripts', 'handover', 'datagrams.cc')
const program = join(root, 'node_modules', '.cache', 'udp-campaign', 'datagrams')

/** datagrams.cc: in a language that leaves the processors to the program. */
class Load {
  #child
  #said = ''

  constructor(rate) {
    this.#child = spawn(program, [String(PORT), String(rate)], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.stdout.on('data', (data) => {
      this.#said += data
    })
  }

  async end() {
    this.#child.stdin.end()
    const [code] = await once(this.#child, 'close')
    if (code !== 0) throw new Error(`datagrams ended with ${code}`)
    return JSON.parse(this.#said)
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
  mkdirSync(dirname(program), { recursive: true })
  run('g++', ['-std=c++17', '-O2', '-o', program, source])
  let now = next(directory, PORT)
  await ready(now)

  /** As many processes start, of another row: what that costs is no handover's. */
  const tried = []
  for (const rate of DATAGRAM_RATES) {
    const load = new Load(rate)
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
  const load = new Load(asked)
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
