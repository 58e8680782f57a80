/**
 * The program of the steering campaign. Of what is in the file $DEPLOYED when it starts: `good`; `errs`: every answer is a 500; `dies MS`: it exits then.
 * HTTP on $PORT, its pid as X-Request-Id of each answer. In $LEDGER/<pid> it notes each connection when it
 * comes (`+port ms`) and goes (`-port`), so that what a killed worker had in hand is known to the connection. SIGUSR2: a busy
 * loop, noted too (`!ms`).
 */
const { openSync, readFileSync, writeSync } = require('node:fs')
const { createServer } = require('node:http')
const { join } = require('node:path')

const SPIN_MS = Number(process.env.SPIN_MS)
const ledger = openSync(join(process.env.LEDGER, String(process.pid)), 'a')
const pid = String(process.pid)
const [version, argument] = readFileSync(process.env.DEPLOYED, 'utf8').split(' ')

function now() {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

const server = createServer((_request, response) => {
  if (version === 'errs') response.statusCode = 500
  response.setHeader('X-Request-Id', pid)
  response.end('hello\n')
})
server.on('connection', (socket) => {
  const { remotePort } = socket
  writeSync(ledger, `+${remotePort} ${now()}\n`)
  socket.on('close', () => writeSync(ledger, `-${remotePort}\n`))
})
// Longer than any client thinks: a connection that is closed was closed for another reason.
server.keepAliveTimeout = 60_000
process.on('SIGUSR2', () => {
  writeSync(ledger, `!${now()}\n`)
  for (const end = now() + SPIN_MS; now() < end; );
})
if (version === 'dies') setTimeout(() => process.exit(1), Number(argument))
server.listen(Number(process.env.PORT))
