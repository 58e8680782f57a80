// Node without our agent: it is given its socket like any other program.
const server = require('node:http').createServer((_, response) => response.end(String(process.pid)))
server.listen({ fd: 3 })
process.on('SIGTERM', () => server.close())
