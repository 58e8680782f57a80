/** Runs the built `verify` with the options in the first argument (JSON) and prints what it gave as JSON; in a process of its own, as it moves to another network. */
import { createRequire } from 'node:module'

const { verify, renderReport, Interrupted } = createRequire(import.meta.url)('../../dist/verify/verify.js')

try {
  const report = await verify({ ...JSON.parse(process.argv[2]), log: (line) => console.error(line) })
  console.log(JSON.stringify({ report, text: renderReport(report) }))
} catch (error) {
  const { name, code, message, next, signal } = error
  console.log(
    JSON.stringify({ error: { name, code, message, next, signal, interrupted: error instanceof Interrupted } }),
  )
}
