// 40 clients of socket.io by WebSocket (its long polling needs sticky sessions, as with any number of processes), with its own retries
// switched on: counts what was never acknowledged.
const { io } = require('socket.io-client')
const { report } = require('./load.cjs')

const CLIENTS = 40
const url = `http://127.0.0.1:${process.env.PORT}`
const counts = { requests: 0, lost: 0, reconnects: 0, why: {} }
let isOver = false

async function client(number) {
  const options = {
    transports: ['websocket'],
    retries: 3,
    ackTimeout: 3000,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
  }
  const socket = io(url, { ...options, forceNew: true })
  let connects = 0
  socket.on('connect', () => {
    if (++connects > 1) counts.reconnects++
  })
  socket.on('connect_error', (error) => report.failed(counts, `connect_error: ${error.message}`))
  for (let message = 0; !isOver; message++) {
    const text = `${number} ${message}`
    counts.requests++
    try {
      const answer = await new Promise((resolve, reject) =>
        socket.emit('say', text, (error, back) => (error ? reject(error) : resolve(back))),
      )
      if (answer !== text) report.failed(counts, `${text} came back as ${answer}`)
    } catch (error) {
      report.failed(counts, error.message)
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
  }
  socket.disconnect()
}

report.run(counts, async (end) => {
  const clients = Array.from({ length: CLIENTS }, (_, number) => client(number))
  await end
  isOver = true
  await Promise.all(clients)
})
