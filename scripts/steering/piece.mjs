/** `node scripts/steering/piece.mjs '{"does": "kill", …}'`: one piece of the steering campaign, in this process. Prints what it found as JSON. */
import { alone } from './service.mjs'

const { does, ...plan } = JSON.parse(process.argv[2])
alone()
const { [does]: run } = await import(`./${does}.mjs`)
process.stdout.write(`${JSON.stringify({ ...(await run(plan)), node: process.version })}\n`)
