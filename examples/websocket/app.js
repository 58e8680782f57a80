const { createServer } = require('node:http')
const { WebSocketServer } = require('ws')

const server = createServer((request, response) => {
  response.end(request.url === '/healthz' ? 'ok\n' : 'speak WebSocket to me\n')
})

const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket) => {
  socket.send(`hello from process ${process.pid}`)
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
})

server.listen(process.env.PORT ?? 3000)
