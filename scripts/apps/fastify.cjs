const app = require('fastify')()

app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
app.get('/', async () => `hello from process ${process.pid}\n`)
app.get('/slow', () => new Promise((resolve) => setTimeout(() => resolve('slow\n'), 300)))
app.post('/upload', async ({ body }) => `${body.length} bytes\n`)
app.listen({ port: 3000, host: '0.0.0.0' })
