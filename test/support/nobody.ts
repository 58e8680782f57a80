import { chmodSync, chownSync, cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { copyOfPackage } from './copy'
import { startLauncher, type TestLauncher, temporaryDirectory } from './launcher'
import { fixture } from './paths'

/** Words before a command, for a user of no name and without any capability. Only root may say them. */
export const UNDER_NOBODY: readonly string[] =
  process.getuid?.() === 0
    ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all', '--inh-caps=-all']
    : []

export interface Nobody {
  readonly place: string
  readonly runtime: string
  /** The command line of its own copy of the package. */
  readonly main: string
  readonly server: string
  deploy(version: string): void
  /** The server of versions, on this port. */
  start(port: number, options: readonly string[]): Promise<TestLauncher>
}

/** A place that user 65534 can read, whatever the mode of the home of this checkout, with all that it needs. */
export function asNobody(): Nobody {
  const place = temporaryDirectory()
  chmodSync(place, 0o755)
  const main = copyOfPackage(place)
  const server = join(place, 'server.cjs')
  cpSync(fixture('servers/versioned.cjs'), server)
  const deploy = (version: string): void => writeFileSync(join(place, 'version'), version)
  deploy('one')
  const runtime = join(place, 'run')
  mkdirSync(runtime)
  if (UNDER_NOBODY.length > 0) chownSync(runtime, 65_534, 65_534)
  const start = (port: number, options: readonly string[]): Promise<TestLauncher> =>
    startLauncher({
      command: ['node', server, String(port)],
      cwd: place,
      main,
      runtimeDir: runtime,
      under: UNDER_NOBODY,
      options,
    })
  return { place, runtime, main, server, deploy, start }
}
