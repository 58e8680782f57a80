/**
 * The program of the chaos run. What it is says the file $DEPLOYED when it starts, `KIND NUMBER`; the number grows with each deploy. `good`; `exits`: as it
 * starts; `throws`: a little later; `silent`: it never listens; `elsewhere`: on another port; `unwell`: its health check is never answered well;
 * `brief`: it exits some time after it was asked for the first time. Each answer has `PID KIND NUMBER` as X-Request-Id, and is
 * printed. In $LEDGER/<pid>-<ms> it notes what it is (`= KIND NUMBER MS`), and each connection when it comes (`+PORT MS`) and goes (`-PORT MS`), so that what
 * one had in hand at its end is known to the connection.
 */
const { openSync, readFileSync, writeSync } = require('node:fs')
const { createServer } = require('node:http')
const { join } = require('node:path')

const BRIEF_MS = 150
const SOON_MS = 50

const version = readFileSync(process.env.DEPLOYED, 'utf8')
const [kind] = version.split(' ')
const id = `${process.pid} ${version}`
// The number of a process comes back some day.
const ledger = openSync(join(process.env.LEDGER, `${process.pid}-${Math.round(now())}`), 'a')
const note = (line) => writeSync(ledger, `${line}\n`)

function now() {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

function serve(port) {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://program')
    if (pathname === '/healthz') {
      response.writeHead(kind === 'unwell' ? 500 : 200).end()
      return
    }
    if (kind === 'brief') setTimeout(() => process.exit(1), BRIEF_MS)
    response.setHeader('X-Request-Id', id)
    console.log(`${request.method} ${request.url} of ${request.socket.remotePort}, answered by ${id}`)
    if (pathname === '/slow') {
      response.write('a part\n')
      setTimeout(() => response.end('the rest\n'), Number(searchParams.get('ms')))
    } else response.end('hello\n')
  })
  server.on('connection', (socket) => {
    const { localPort, remotePort } = socket
    // A health check comes by a connection of its own, whose port a client may have, too.
    if (localPort !== port) return
    note(`+${remotePort} ${now()}`)
    socket.on('close', () => note(`-${remotePort} ${now()}`))
  })
  // Longer than any client is idle: a connection that is closed was closed for another reason.
  server.keepAliveTimeout = 60_000
  server.listen(port)
}

note(`= ${version} ${now()}`)
if (kind === 'exits') process.exit(3)
if (kind === 'throws')
  setTimeout(() => {
    throw new Error('this version is broken')
  }, SOON_MS)
else if (kind === 'silent') setInterval(() => undefined, 60_000)
else serve(Number(process.env.PORT) + (kind === 'elsewhere' ? 1 : 0))
