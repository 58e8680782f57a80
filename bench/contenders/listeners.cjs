// Listens on $LISTENERS ports from $PORT on, and writes into $TOOK how many ms it took from the first `listen` to the last 'listening'.

const { renameSync, writeFileSync } = require('node:fs')
const { createServer } = require('node:net')

const [first, count] = [Number(process.env.PORT), Number(process.env.LISTENERS)]
const servers = Array.from({ length: count }, () => createServer())
let waiting = count
const begun = performance.now()

for (const [index, server] of servers.entries()) {
  server.listen(first + index, () => {
    waiting -= 1
    if (waiting > 0) return
    writeFileSync(`${process.env.TOOK}.part`, String(performance.now() - begun))
    renameSync(`${process.env.TOOK}.part`, process.env.TOOK)
  })
}
