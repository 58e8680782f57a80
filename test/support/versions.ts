import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryDirectory } from './launcher'
import { fixture } from './paths'

/** The fixture whose behaviour is a word in a file: deploying is writing that file. */
export class Versions {
  readonly directory: string
  readonly command: (...ports: number[]) => readonly string[]

  constructor(first = 'one', directory: string = join(temporaryDirectory(), 'app')) {
    this.directory = directory
    mkdirSync(directory, { recursive: true })
    this.deploy(first)
    this.command = (...ports) => ['node', fixture('servers/versioned.cjs'), ...ports.map(String)]
  }

  /** Returns it: what a server of that version answers to /version, if it is a name alone. */
  deploy(version: string): string {
    const next = join(this.directory, '.version')
    writeFileSync(next, version)
    renameSync(next, join(this.directory, 'version'))
    return version
  }
}
