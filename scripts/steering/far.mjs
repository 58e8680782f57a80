/** A second network namespace, at a distance from this one (delay.cc): where clients can be who are far away. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root, run } from '../build.mjs'

const source = join(root, 'scripts', 'steering', 'delay.cc')
const program = join(root, 'node_modules', '.cache', 'steering-campaign', 'delay')

/** `rttMs`: of a packet there and back. Gives what `Service.load` needs to know, and an end. */
export async function farNetwork(rttMs) {
  mkdirSync(dirname(program), { recursive: true })
  run('g++', ['-std=c++17', '-O2', '-o', program, source])
  const child = spawn(program, [String(rttMs / 2)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [pid] = await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`delay ended with ${code}`)
    }),
  ])
  return {
    under: ['nsenter', `--net=/proc/${String(pid).trim()}/ns/net`],
    host: '10.9.0.1',
    end: () => {
      child.stdin.end()
      return once(child, 'exit')
    },
  }
}
