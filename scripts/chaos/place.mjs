import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Log } from './log.mjs'

/** Where the launchers, one after the other, print: stdout into a pipe that has a reader, which can stand still, stderr into a file. */
export class Place {
  #directory = mkdtempSync(join(tmpdir(), 'rrc-'))
  #hold

  constructor() {
    const [pipe, file] = ['stdout', 'stderr'].map((name) => join(this.#directory, name))
    chmodSync(this.#directory, 0o755)
    execFileSync('mkfifo', [pipe])
    writeFileSync(file, '')
    for (const path of [pipe, file]) chmodSync(path, 0o666)
    // While no launcher has it, nobody finds its end.
    this.#hold = openSync(pipe, constants.O_RDWR)
    this.reader = spawn('cat', [pipe], { stdio: ['ignore', 'ignore', 'inherit'] })
    this.log = new Log(file)
    this.under = ['sh', '-c', `exec "$@" > '${pipe}' 2>> '${file}'`, 'sh']
  }

  /** Nobody reads from here on. */
  end() {
    this.reader.kill('SIGKILL')
  }

  remove() {
    this.end()
    closeSync(this.#hold)
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
