// Runs every test on what is built: `npm test [-- vitest arguments]`. Ends with one plain line of counts.

import { root, run } from './build.mjs'
import { vitest } from './vitest.mjs'

run(process.execPath, ['scripts/build.mjs'], { cwd: root })
const { passed, end, counts } = vitest(process.argv.slice(2))
console.log(counts ?? `vitest ended with ${end} and counted nothing`)
process.exitCode = passed ? 0 : 1
