// The Nodes that are supported, as npm packages (node-linux-<arch>) below node_modules/.cache; nothing is compiled for them.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from './build.mjs'

export const SUPPORTED = ['20', '22', '24', '26']

/** Path of the newest Node of that major version, which is fetched if it is not there. */
export function nodeOf(major) {
  const name = `node-linux-${process.arch}`
  const folder = join(root, 'node_modules', '.cache', `node-${major}`)
  const binary = join(folder, 'node_modules', name, 'bin', 'node')
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true })
    const quietly = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts']
    run('npm', ['install', '--prefix', folder, ...quietly, `${name}@${major}`])
  }
  return binary
}
