// Says what it has in memory, when nothing is left of what nobody needs (node --expose-gc).

const { createServer } = require('node:http')

const server = createServer((request, response) => {
  if (request.url !== '/memory') return response.end('ok')
  for (let n = 0; n < 3; n++) globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  response.end(JSON.stringify({ pid: process.pid, heap: heapUsed + external }))
})

server.keepAliveTimeout = 3_600_000
server.listen(process.env.PORT)
