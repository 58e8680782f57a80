// What the benchmarks of a launcher have in common: one in a directory of its own, on a port that is free, for as long as something is measured.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../scripts/build.mjs'

/**
 * `measure` gets the `port` ($PORT of the program, unless `environment` has another), the `runtimeDir`, in which the launcher is "bench", and its
 * `pid`.
 */
export function withLauncher(node, options, program, measure, environment = {}) {
  return withScratch(async (runtimeDir) => {
    const port = await freePort()
    const launcher = spawn(
      node,
      [
        join(root, 'dist', 'cli', 'main.js'),
        ...['--name', 'bench', '--runtime-dir', runtimeDir, '--log-format', 'json', ...options],
        ...['--', node, ...program],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PORT: String(port), ...environment } },
    )
    try {
      await serving(launcher)
      return await measure({ port, runtimeDir, pid: launcher.pid })
    } finally {
      if (launcher.exitCode === null && launcher.signalCode === null) {
        launcher.kill('SIGTERM')
        await once(launcher, 'exit')
      }
    }
  })
}

export async function withScratch(work) {
  const scratch = mkdtempSync(join(tmpdir(), 'rrb-'))
  try {
    return await work(scratch)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

export async function freePort() {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Its log, as JSON on its stderr, says that all of its workers serve. */
export function serving(launcher) {
  return new Promise((resolve, reject) => {
    let said = ''
    launcher.stderr.on('data', (data) => {
      said += data
      if (said.includes('"launcher.serving"')) resolve()
    })
    launcher.once('exit', () => reject(new Error(`the launcher has ended:\n${said}`)))
  })
}
