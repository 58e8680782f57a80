import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

function answer(request: IncomingMessage, response: ServerResponse): void {
  response.end(request.url === '/healthz' ? 'ok\n' : `hello from process ${process.pid}\n`)
}

createServer(answer).listen(Number(process.env['PORT'] ?? 3000))
