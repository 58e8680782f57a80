const express = require('express')

const app = express()
app.get('/', (_request, response) => response.send(`hello from process ${process.pid}\n`))
app.get('/slow', (_request, response) => setTimeout(() => response.send('slow\n'), 300))
app.post('/upload', express.raw({ type: () => true }), (request, response) =>
  response.send(`${request.body.length} bytes\n`),
)
app.listen(3000)
