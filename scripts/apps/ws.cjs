const { createServer } = require('node:http')
const { WebSocketServer } = require('ws')

const server = createServer((_request, response) => response.end('hello\n'))
new WebSocketServer({ server, path: '/ws' }).on('connection', (socket) => {
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
})
server.listen(3000)
