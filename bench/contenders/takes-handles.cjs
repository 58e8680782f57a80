// Takes handles by Node's own IPC and closes them; says when it has had so many.

const wanted = Number(process.argv[2])
let taken = 0

process.on('message', (_, handle) => {
  handle.close()
  taken += 1
  if (taken === wanted) process.send('all')
})
process.send('ready')
