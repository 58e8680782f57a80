// Loaded before a program (node -r): its `listen(port)` is on a socket of its own with SO_REUSEPORT, and nothing else is changed. On every Node,
// also on those whose `listen` knows no `reusePort`.

const { Server } = require('node:net')
const { native } = require('../../dist/native.js')

const { listen } = Server.prototype

Server.prototype.listen = function onSocketOfItsOwn(port, ...rest) {
  const fd = native().socket('inet6', 'stream')
  native().setOption(fd, 'ipv6Only', 0)
  native().setOption(fd, 'reuseAddress', 1)
  native().setOption(fd, 'reusePort', 1)
  native().bindInet(fd, '::', Number(port))
  return listen.call(this, { fd }, ...rest)
}
