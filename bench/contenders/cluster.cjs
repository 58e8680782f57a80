// What a careful reading of Node's manual gives: a primary that replaces its workers one by one on SIGHUP. A new worker listens before the
// old one is disconnected; an old one that has not ended after 2 s is killed, as in the manual's example of worker.disconnect().

const cluster = require('node:cluster')

const [program, workers] = [process.argv[2], Number(process.argv[3])]
cluster.setupPrimary({ exec: program, args: [] })

const start = () =>
  new Promise((resolve) => {
    const worker = cluster.fork()
    worker.once('listening', () => resolve(worker))
  })

const retire = (worker) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => worker.kill(), 2_000)
    worker.once('exit', () => {
      clearTimeout(timer)
      resolve()
    })
    worker.disconnect()
  })

async function main() {
  let current = await Promise.all(Array.from({ length: workers }, start))
  process.send('serving')
  process.on('SIGHUP', async () => {
    const next = []
    for (const old of current) {
      next.push(await start())
      await retire(old)
    }
    current = next
    process.send('reloaded')
  })
}

void main()
