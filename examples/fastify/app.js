const fastify = require('fastify')()

fastify.get('/healthz', () => 'ok\n')

fastify.get('/', () => ({ hello: 'world', pid: process.pid }))

// Bodies of any kind are read to their end.
fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
fastify.post('/upload', (request) => ({ bytes: request.body.length }))

fastify.listen({ port: Number(process.env.PORT ?? 3000), host: '::' }).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
