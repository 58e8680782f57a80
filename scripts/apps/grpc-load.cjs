// 10 channels of gRPC with 4 calls at a time each, as they come: only what the library itself sends again is sent again.
const { credentials, makeGenericClientConstructor, status } = require('@grpc/grpc-js')
const { report } = require('./load.cjs')

const Client = makeGenericClientConstructor(require('./grpc-service.cjs'), 'Echo')
const CHANNELS = 10
const CALLS = 4
const counts = { requests: 0, lost: 0, why: {} }
let isOver = false

const failed = (error) => report.failed(counts, `${status[error.code]}: ${error.details}`)

async function calls(client, isStream) {
  for (let number = 0; !isOver; number++) {
    counts.requests++
    await (isStream ? tell(client) : say(client, number))
  }
}

function say(client, number) {
  return new Promise((resolve) => {
    client.Say({ number }, (error, answer) => {
      if (error) failed(error)
      else if (answer.number !== number) report.failed(counts, `${number} came back as ${answer.number}`)
      resolve()
    })
  })
}

function tell(client) {
  return new Promise((resolve) => {
    let last
    const call = client.Tell({})
    call.on('data', ({ left }) => {
      last = left
    })
    call.on('error', failed)
    call.on('status', ({ code }) => {
      if (code === status.OK && last !== 0) report.failed(counts, `a stream that ended after ${last}`)
      resolve()
    })
  })
}

report.run(counts, async (end) => {
  // Channels with the same target share a connection unless told otherwise.
  const options = { 'grpc.use_local_subchannel_pool': 1 }
  const clients = Array.from(
    { length: CHANNELS },
    () => new Client(`127.0.0.1:${process.env.PORT}`, credentials.createInsecure(), options),
  )
  const all = clients.flatMap((client) => Array.from({ length: CALLS }, (_, number) => calls(client, number === 0)))
  await end
  isOver = true
  await Promise.all(all)
  for (const client of clients) client.close()
})
