// Holds many connections that have had an answer each: idle.cjs PORT COUNT. Says when all of them have, to its parent, and holds them until it is killed.

const { connect } = require('node:net')

const [port, count] = process.argv.slice(2).map(Number)
const AT_ONCE = 100
let [begun, answered] = [0, 0]

function open() {
  begun += 1
  const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'))
  socket.on('error', (error) => {
    throw error
  })
  socket.once('data', () => {
    answered += 1
    if (begun < count) open()
    if (answered === count) process.send('open')
  })
}

for (let n = 0; n < Math.min(AT_ONCE, count); n++) open()
process.on('disconnect', () => process.exit())
