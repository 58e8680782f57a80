import { readFileSync } from 'node:fs'
import { type Finding, ok, warn } from './finding.js'

/** A worker needs one for each connection, and one for each socket of every listener. */
const USEFUL_DESCRIPTORS = 4_096

/** How many files may be open: Node raises its soft limit to the hard one when it starts, so that one counts. `root`: for tests. */
export function checkDescriptors(root = ''): Finding[] {
  const [, hard] = /^Max open files\s+(?:\S+)\s+(\S+)/m.exec(read(`${root}/proc/self/limits`)) ?? []
  if (hard === undefined) return []
  if (hard === 'unlimited' || Number(hard) >= USEFUL_DESCRIPTORS)
    return [ok('descriptors', `${hard} per process: so many connections per worker, at most`)]
  return [
    warn(
      'descriptors',
      `${hard} per process: a worker with so many connections accepts no more`,
      'Raise it: LimitNOFILE=65536 in the unit, `ulimit -Hn 65536` in a shell, --ulimit nofile=65536 with Docker.',
    ),
  ]
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
