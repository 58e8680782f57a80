import type { ReloadWait, Verdict } from '../control-protocol.js'
import { within } from './connect.js'
import { type CommandLine, usage } from './parse.js'
import { whileShowing } from './progress.js'
import { text } from './values.js'
import { describeVerdict, headline } from './verdict.js'

const WAITS: readonly string[] = ['admitted', 'baked', 'retired'] satisfies ReloadWait[]
/** The exit code is the truth: 0 only when the new version serves. */
const EXIT_CODES: Readonly<Record<Verdict['result'], number>> = { done: 0, aborted: 4, undone: 4, stopped: 1 }

export async function reload(line: CommandLine): Promise<number> {
  const given = text(line.values, 'wait')
  const wait = given ?? 'baked'
  if (!WAITS.includes(wait)) throw usage(`--wait ${JSON.stringify(wait)} is none of ${WAITS.join(', ')}`)
  if (line.values['no-wait'] === true) {
    if (given !== undefined) throw usage('--wait and --no-wait cannot both be meant')
    await within(line, 'reload', (client) => client.queueReload())
    process.stdout.write(line.values['json'] === true ? '{"queued":true}\n' : 'reload queued\n')
    return 0
  }
  const isJson = line.values['json'] === true
  const isLive = process.stdout.isTTY && !isJson
  const [verdict, status] = await within(line, 'reload', async (client) => {
    const work = client.reload({ wait: wait as ReloadWait })
    const answer = await (isLive
      ? whileShowing(work, async () => (await client.status()).reload, process.stdout)
      : work)
    // The verdict stands, whatever becomes of the launcher.
    const isTold = !isJson || answer.result !== 'done'
    return [answer, isTold ? await client.status().catch(() => null) : null] as const
  })
  const code = EXIT_CODES[verdict.result]
  if (isJson) process.stdout.write(`${JSON.stringify(verdict)}\n`)
  // What failed is told where errors are told, to whom stdout is thrown away or parsed.
  if (isJson && code !== 0) process.stderr.write(`${headline(verdict, status).join('\n')}\n`)
  if (!isJson) (code === 0 ? process.stdout : process.stderr).write(describeVerdict(verdict, status))
  return code
}
