import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './paths'

/** What an installed package has of what a launcher needs, in this directory. Returns its command line. */
export function copyOfPackage(place: string): string {
  for (const part of ['dist', 'build/Release/reuseport.node', 'build/Release/shield.node', 'package.json', 'web'])
    cpSync(join(ROOT, part), join(place, part), { recursive: true })
  return join(place, 'dist', 'cli', 'main.js')
}
