const Koa = require('koa')

const app = new Koa()
app.use(async (context) => {
  if (context.path === '/slow') await new Promise((resolve) => setTimeout(resolve, 300))
  let length = 0
  if (context.method === 'POST') for await (const bytes of context.req) length += bytes.length
  context.body = `${length} bytes for process ${process.pid}\n`
})
app.listen(3000)
