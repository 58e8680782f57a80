const { Server, ServerCredentials } = require('@grpc/grpc-js')

const server = new Server()
server.addService(require('./grpc-service.cjs'), {
  Say: (call, answer) => setTimeout(() => answer(null, call.request), Math.random() * 20),
  Tell(call) {
    let left = 5
    const timer = setInterval(() => {
      call.write({ left: --left })
      if (left > 0) return
      clearInterval(timer)
      call.end()
    }, 40)
  },
})
server.bindAsync(`0.0.0.0:${process.env.PORT}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error
})
