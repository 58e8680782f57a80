const { createServer } = require('node:http')
const { Server } = require('socket.io')

const server = createServer((_request, response) => response.end('hello\n'))
new Server(server).on('connection', (socket) => socket.on('say', (text, answer) => answer(text)))
server.listen(Number(process.env.PORT ?? 3000))
