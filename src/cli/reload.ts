import type { ControlClient } from '../control-client.js'
import type { ReloadWait, Verdict } from '../control-protocol.js'
import { canaryPlan } from './canary.js'
import { within } from './connect.js'
import { type CommandLine, usage } from './parse.js'
import { whileShowing } from './progress.js'
import { text } from './values.js'
import { describeVerdict, headline } from './verdict.js'

const WAITS: readonly string[] = ['admitted', 'baked', 'retired'] satisfies ReloadWait[]
/** The exit code is the truth: 0 only when the new version serves. */
const EXIT_CODES: Readonly<Record<Verdict['result'], number>> = { done: 0, aborted: 4, undone: 4, stopped: 1 }
/** Of --abort: 0 only when the old one does. */
const ABORTED: Readonly<Record<Verdict['result'], number>> = { done: 1, aborted: 0, undone: 0, stopped: 1 }

const NOT_WITH: Readonly<Record<string, readonly string[]>> = {
  wait: ['no-wait'],
  promote: ['canary', 'no-wait'],
  abort: ['promote', 'canary', 'wait', 'no-wait'],
}

export async function reload(line: CommandLine): Promise<number> {
  const { values } = line
  checkTogether(values)
  const canary = canaryPlan(line)
  if (values['no-wait'] === true) {
    await within(line, 'reload', (client) => client.queueReload(canary))
    process.stdout.write(values['json'] === true ? '{"queued":true}\n' : 'reload queued\n')
    return 0
  }
  const wait = (text(values, 'wait') ?? 'baked') as ReloadWait
  if (values['abort'] === true) return await tell(line, (client) => client.abort(), ABORTED)
  if (values['promote'] === true) return await tell(line, (client) => client.promote({ wait }), EXIT_CODES)
  return await tell(line, (client) => client.reload({ wait, canary }), EXIT_CODES)
}

function checkTogether(values: CommandLine['values']): void {
  const wait = text(values, 'wait')
  if (wait !== undefined && !WAITS.includes(wait))
    throw usage(`--wait ${JSON.stringify(wait)} is none of ${WAITS.join(', ')}`)
  for (const [name, others] of Object.entries(NOT_WITH)) {
    const odd = values[name] === undefined ? undefined : others.find((other) => values[other] !== undefined)
    if (odd !== undefined) throw usage(`--${name} and --${odd} cannot both be meant`)
  }
}

/** Waits for the verdict of a reload, shows it meanwhile, and says what became of it. */
async function tell(
  line: CommandLine,
  order: (client: ControlClient) => Promise<Verdict>,
  codes: Readonly<Record<Verdict['result'], number>>,
): Promise<number> {
  const isJson = line.values['json'] === true
  const isLive = process.stdout.isTTY && !isJson
  const [verdict, status] = await within(line, 'reload', async (client) => {
    const work = order(client)
    const answer = await (isLive
      ? whileShowing(work, async () => (await client.status()).reload, process.stdout)
      : work)
    // The verdict stands, whatever becomes of the launcher.
    const isTold = !isJson || answer.result !== 'done'
    return [answer, isTold ? await client.status().catch(() => null) : null] as const
  })
  const code = codes[verdict.result]
  if (isJson) process.stdout.write(`${JSON.stringify(verdict)}\n`)
  // What failed is told where errors are told, to whom stdout is thrown away or parsed.
  if (isJson && code !== 0) process.stderr.write(`${headline(verdict, status).join('\n')}\n`)
  if (!isJson) (code === 0 ? process.stdout : process.stderr).write(describeVerdict(verdict, status))
  return code
}
