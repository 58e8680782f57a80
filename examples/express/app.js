const { setTimeout: sleep } = require('node:timers/promises')
const express = require('express')

const app = express()

app.get('/healthz', (_request, response) => {
  response.send('ok\n')
})

app.get('/', (_request, response) => {
  response.json({ hello: 'world', pid: process.pid })
})

// Answers bit by bit: a reload must not cut it.
app.get('/slow', async (_request, response) => {
  for (const part of ['slowly', 'but', 'surely']) {
    response.write(`${part}\n`)
    await sleep(200)
  }
  response.end('done\n')
})

// Reads what comes, however long it takes, and says how much it was.
app.post('/upload', async (request, response) => {
  let bytes = 0
  for await (const chunk of request) bytes += chunk.length
  response.json({ bytes })
})

app.listen(process.env.PORT ?? 3000)
