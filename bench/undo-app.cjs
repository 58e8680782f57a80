// The program of undo.mjs: well, until SIGUSR2 says otherwise. It goes on answering everything but its health path.
const { createServer } = require('node:http')

let isWell = true
process.on('SIGUSR2', () => {
  isWell = false
})
createServer((request, response) => {
  if (request.url !== '/healthz') return response.end(`hello from process ${process.pid}\n`)
  response.statusCode = isWell ? 200 : 500
  response.end()
}).listen(Number(process.env.PORT))
