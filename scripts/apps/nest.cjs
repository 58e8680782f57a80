require('reflect-metadata')
const { Controller, Get, Module, Post } = require('@nestjs/common')
const { NestFactory } = require('@nestjs/core')

class Pages {
  page() {
    return `hello from process ${process.pid}\n`
  }
  slow() {
    return new Promise((resolve) => setTimeout(() => resolve('slow\n'), 300))
  }
  upload() {
    return 'thanks\n'
  }
}
// Decorators by hand: there is no compiler here.
const method = (name) => Object.getOwnPropertyDescriptor(Pages.prototype, name)
Get()(Pages.prototype, 'page', method('page'))
Get('slow')(Pages.prototype, 'slow', method('slow'))
Post('upload')(Pages.prototype, 'upload', method('upload'))
Controller()(Pages)

class App {}
Module({ controllers: [Pages] })(App)

NestFactory.create(App, { logger: false }).then((app) => {
  app.enableShutdownHooks()
  return app.listen(3000)
})
