const { createServer } = require('node:http')

const server = createServer((request, response) => {
  response.end(request.url === '/healthz' ? 'ok\n' : `hello from process ${process.pid}\n`)
})

server.listen(process.env.PORT ?? 3000, () => console.log('listening', server.address()))
