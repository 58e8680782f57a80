import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

// What a program does before it is ready: a reload waits for it, clients do not.
await sleep(100)

const server = createServer((request, response) => {
  response.end(request.url === '/healthz' ? 'ok\n' : `hello from process ${process.pid}\n`)
})

server.listen(process.env.PORT ?? 3000)
