// As little as a server can be. It says when it listens, for those who have no launcher to tell them.

require('node:net')
  .createServer((socket) => socket.end())
  .listen(process.env.PORT, () => process.stdout.write('listening\n'))
