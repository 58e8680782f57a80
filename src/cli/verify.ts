import { constants } from 'node:os'
import { Interrupted, renderReport, verify } from '../verify/verify.js'
import { SETTINGS } from './config/keys.js'
import { usage } from './parse.js'
import type { Settled } from './settle.js'
import { clients, count, ports, text, texts, workers } from './values.js'

/** What a run of the program under test gets as well; its workers are counted here. */
const PASSED_ON = SETTINGS.filter(({ name, verbs }) => verbs.includes('verify') && name !== 'workers')

const NO_BAKE = ['--bake', '0'] as const

export async function verifyCommand({ values, command, file }: Settled): Promise<number> {
  if (command.length === 0) throw usage('no command to verify', 'For example: reuseport-run verify -n 2 -- node app.js')
  const number = (name: string, least: number): number | undefined => {
    const given = text(values, name)
    return given === undefined ? undefined : count(given, name, least)
  }
  ports(text(values, 'ports'))
  const network = text(values, 'network')
  if (network !== undefined && network !== 'private' && network !== 'shared')
    throw usage(`--network ${JSON.stringify(network)} is neither private nor shared`)
  const uploadPath = text(values, 'upload-path')
  const isJson = values['json'] === true
  try {
    const report = await verify({
      command,
      workers: text(values, 'workers') === undefined ? undefined : workers(text(values, 'workers')),
      reloads: number('reloads', 1),
      minRequests: number('min-requests', 0),
      connections: number('connections', 1),
      network,
      path: text(values, 'path'),
      uploadPath: uploadPath === 'none' ? null : uploadPath,
      slowPath: text(values, 'slow-path'),
      websocketPath: text(values, 'websocket-path'),
      echoes: values['echo'] === true,
      ssePath: text(values, 'sse-path'),
      clients: clients(text(values, 'clients')),
      listener: text(values, 'listener'),
      https: text(values, 'https'),
      http2: text(values, 'http2'),
      h2c: text(values, 'h2c'),
      // Without migration each is told to close.
      allowsClosed: values['allow-closed'] === true || values['no-migrate'] === true,
      // The clients have nothing to do with the bake: it would only make the run longer.
      launcherOptions: [
        ...NO_BAKE,
        ...(file === null ? ['--no-config'] : ['--config', file]),
        ...PASSED_ON.flatMap(({ name }) => {
          if (values[name] === true) return [`--${name}`]
          const once = text(values, name)
          const given = once === undefined ? texts(values, name) : [once]
          // In one word: a value may begin with a dash.
          return given.map((value) => `--${name}=${value}`)
        }),
      ],
      log: (line) => process.stderr.write(`${line}\n`),
    })
    process.stdout.write(isJson ? `${JSON.stringify(report)}\n` : renderReport(report))
    return report.result === 'passed' ? 0 : 1
  } catch (error) {
    if (error instanceof Interrupted) return 128 + constants.signals[error.signal]
    throw error
  }
}
