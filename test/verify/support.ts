import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterEach } from 'vitest'
import type { ClientContext } from '../../src/verify/load/clients'
import { type ClientKind, clientKinds, type LoadTargets } from '../../src/verify/load/kinds'
import { LoadEnd } from '../../src/verify/load/load-end'
import { type Incident, Recorder, type Tally } from '../../src/verify/load/recorder'
import type { Target } from '../../src/verify/load/request'
import { fixture, TEST_NODE } from '../support/paths'

const started: ChildProcess[] = []

afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
})

/** Starts test/fixtures/misbehaving/<name>.mjs, waits until it announces its port; it is killed after the test. */
export async function misbehaving(name: string, ...args: string[]): Promise<Target> {
  const file = fixture(`misbehaving/${name}.mjs`)
  const child = spawn(TEST_NODE, [file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  started.push(child)
  for await (const line of createInterface({ input: child.stdout })) {
    return { host: '127.0.0.1', port: (JSON.parse(line) as { port: number }).port }
  }
  throw new Error(`${name} announced nothing`)
}

export interface Met {
  readonly tally: Tally
  readonly incidents: readonly Incident[]
}

/** Lets one client of the kind (as reports name it) make `requests` requests and end; gives what it met. */
export async function meet(
  target: Target,
  kindName: string,
  requests: number,
  times: Partial<ClientContext> = {},
  { asks = false, protocol = 'http' as keyof LoadTargets, websocketPath = '/', echoes = true } = {},
): Promise<Met> {
  const none: LoadTargets = { http: null, https: null, http2: null, h2c: null }
  const kinds = clientKinds({
    targets: { ...none, [protocol]: target },
    paths: { path: '/', uploadPath: '/', slowPath: null, websocketPath, ssePath: '/' },
    echoes,
    moves: true,
  })
  const { clients, ends } = kinds.find(({ name }) => name === kindName) as ClientKind
  const recorder = new Recorder([{ kind: kindName, connections: 1, ends }])
  const end = new LoadEnd()
  const context: ClientContext = {
    recorder,
    connectTimeoutMs: 5000,
    responseTimeoutMs: 5000,
    slowReadBytes: 16,
    // A think time long enough for what the servers do to idle connections.
    random: () => 0.2,
    end,
    ...times,
  }
  if (asks) await clients.ask(context)
  let made = 0
  await clients.run(context, kindName, () => {
    // The client makes one more request after it was told to end.
    if (++made === requests - 1) end.begin()
  })
  return { tally: recorder.tallies()[0] as Tally, incidents: recorder.incidents() }
}
