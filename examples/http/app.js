const { createServer } = require('node:http')

const server = createServer((request, response) => {
  if (request.url === '/healthz') return response.end('ok\n')
  response.end(`hello from process ${process.pid}\n`)
})

server.listen(process.env.PORT ?? 3000)
