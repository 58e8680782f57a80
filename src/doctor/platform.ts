import { ReuseportError } from '../errors.js'
import type { Native } from '../native.js'
import { type Finding, fail, ok, warn } from './finding.js'

/** The oldest that is supported: package.json's `engines`. */
const OLDEST = [20, 19]

export function checkNode(version: string): Finding {
  if (isOldEnough(version)) return ok('node', version)
  return fail(
    'node',
    `${version} is older than ${OLDEST.join('.')}`,
    'Install a newer Node: 20.19, 22, 24 and 26 are tested.',
  )
}

export function isOldEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  const [least = 0, leastMinor = 0] = OLDEST
  return major > least || (major === least && minor >= leastMinor)
}

/** `load`: gives the addon, or throws why not. The finding, and the addon for the checks that need it. */
export function checkAddon(load: () => Native): { finding: Finding; native: Native | null } {
  try {
    const native = load()
    return {
      finding: ok('addon', `loaded (${process.platform}-${process.arch}, Node-API ${process.versions['napi']})`),
      native,
    }
  } catch (error) {
    if (!(error instanceof ReuseportError)) throw error
    return { finding: fail('addon', error.message, error.next ?? ''), native: null }
  }
}

/** `glibc`: its version, as Node's report has it; undefined with another C library. */
export function checkLibc(glibc: string | undefined): Finding {
  if (glibc !== undefined) return ok('libc', `glibc ${glibc}`)
  return warn(
    'libc',
    'not glibc (musl?)',
    'The addon must be built for it (`node scripts/build.mjs`); the tests run with glibc.',
  )
}
