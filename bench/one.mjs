// One contender in one round of one part of the benchmark, alone in a network namespace: what bench.mjs runs. Prints what was measured, as JSON.

import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answers, CONTENDERS } from './contenders/contenders.mjs'

const require = createRequire(import.meta.url)
const { native } = require('../dist/native.js')

const PORT = 3000
/** Names of the launcher with options. */
const VARIANTS = {
  'reuseport-run, no heartbeat': ['--hang-timeout', '0'],
  'reuseport-run, warm': ['--warmup', '500:/'],
}

const { part: name, contender: who, round, plan } = JSON.parse(process.argv[2])
const part = await import(`./parts/${name}.mjs`)
const say = (version, found) => process.stdout.write(JSON.stringify({ version, found }))

native().enterPrivateNetwork()
if (part.isAlone) say('', await part.measure({ who, plan, round }))
else await served()

async function served() {
  process.env.PORT = String(PORT)
  const scratch = mkdtempSync(join(tmpdir(), 'rrb-'))
  let contender
  try {
    const { start } = CONTENDERS[who] ?? CONTENDERS['reuseport-run']
    const begun = performance.now()
    const starting = start({ port: PORT, scratch, options: VARIANTS[who] })
    await answers(PORT)
    const launchMs = performance.now() - begun
    contender = await starting
    say(contender.version, await part.measure({ who, port: PORT, scratch, contender, launchMs, plan, round }))
  } finally {
    await contender?.stop()
    rmSync(scratch, { recursive: true, force: true })
  }
}
