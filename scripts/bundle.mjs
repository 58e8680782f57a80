/**
 * Puts all that one process loads into one file, as it is shipped: dist/cli/main.js, and the agent's dist/worker/preload.js. A launcher of ninety
 * files takes 20 ms of processor time to find and read them, and 2 MB to keep their names and comments (two processors, Node 20). What is
 * loaded only when an option asks for it is in the file, and run only then. The other files of dist/ stay as they are: what a program
 * imports, and what runs in a process or thread of its own.
 */

import { readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { build } from 'esbuild'

/** Of the checkout in `root`, after tsc. */
export async function bundle(root) {
  const src = join(root, 'src')
  for (const entry of ['cli/main', 'worker/preload']) {
    const outfile = join(root, 'dist', `${entry}.js`)
    await build({
      entryPoints: [join(src, `${entry}.ts`)],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node20',
      // What is kept in memory for as long as the process lives. Names stay: they are in the stack traces that somebody reads one day.
      minifyWhitespace: true,
      legalComments: 'none',
      logLevel: 'warning',
      plugins: [places(src, dirname(outfile), join(root, 'dist'))],
    })
  }
}

/** Files beside which a module finds others: as if it still lay where tsc puts it. Addons are found when they are needed. */
function places(src, outdir, dist) {
  return {
    name: 'places',
    setup({ onLoad, onResolve }) {
      onResolve({ filter: /\.node$/ }, ({ path, resolveDir }) => {
        const from = join(dist, relative(src, resolveDir))
        return { path: relative(outdir, join(from, path)), external: true }
      })
      onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8')
        const to = relative(outdir, join(dist, dirname(relative(src, path))))
        const here = to === '' ? '__dirname' : `require('node:path').join(__dirname, ${JSON.stringify(to)})`
        return { contents: text.replaceAll(/\b__dirname\b/g, here), loader: 'ts' }
      })
    },
  }
}
