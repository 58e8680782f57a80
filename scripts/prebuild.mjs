// npm `prepack`: prebuilds/linux-<arch>/{reuseport,shield}.<glibc|musl>.node, stripped, for the platform this runs on, and a dist/ that holds
// what src/ compiles to and nothing older, the launcher and the agent in one file each (`postpack` takes them apart again).

import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { addon, buildAddon, buildTypeScript, root, run } from './build.mjs'
import { bundle } from './bundle.mjs'

// What a system has that can run the oldest Node we support: the official binaries are built for glibc 2.28 and need no younger
// libstdc++ than came with it (GCC 8). The compiler of a release may be much younger, and one new symbol would shut those systems out.
const NEWEST = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11' }

const { glibcVersionRuntime } = process.report.getReport().header
const libc = glibcVersionRuntime === undefined ? 'musl' : 'glibc'
const directory = join(root, 'prebuilds', `linux-${process.arch}`)

buildAddon()
mkdirSync(directory, { recursive: true })
for (const name of ['reuseport', 'shield']) {
  const built = join(dirname(addon), `${name}.node`)
  const target = join(directory, `${name}.${libc}.node`)
  if (libc === 'glibc') requireOldSymbols(built)
  run('strip', ['--strip-unneeded', '-o', target, built])
  console.log(`${relative(root, target)}  ${statSync(target).size} bytes`)
}

rmSync(join(root, 'dist'), { recursive: true, force: true })
buildTypeScript()
await bundle(root)

function requireOldSymbols(file) {
  const symbols = execFileSync('objdump', ['-T', file], { encoding: 'utf8' })
  const tooNew = [...symbols.matchAll(/\((GLIBC|GLIBCXX|CXXABI)_([\d.]+)\)\s+(\S+)/g)].filter(
    ([, library, version]) => version.localeCompare(NEWEST[library], undefined, { numeric: true }) > 0,
  )
  if (tooNew.length === 0) return
  const list = tooNew.map(([, library, version, symbol]) => `${symbol} (${library}_${version})`)
  throw new Error(`the addon needs a younger system than Node 20 does: ${list.join(', ')}`)
}
