#include "core/tcp_info.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>

#include "check.h"
#include "core/address.h"
#include "core/fd.h"

using namespace reuseport;

int main() {
  tcp_info info{};
  info.tcpi_state = TCP_LISTEN;
  info.tcpi_unacked = 5;
  info.tcpi_sacked = 511;
  const auto queue = decodeAcceptQueue(&info, kTcpInfoSize);
  CHECK(queue.ok() && queue.value().length == 5 && queue.value().limit == 511);
  CHECK(decodeAcceptQueue(&info, kTcpInfoSize - 1).error() == EINVAL);
  info.tcpi_state = TCP_ESTABLISHED;
  CHECK(decodeAcceptQueue(&info, sizeof info).error() == EINVAL);

  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(acceptQueueOf(listener.get()).error() == EINVAL);
  const SocketAddress any = inetAddress("127.0.0.1", 0).value();
  CHECK(::bind(listener.get(), any.get(), any.length) == 0 && ::listen(listener.get(), 8) == 0);
  const auto empty = acceptQueueOf(listener.get());
  CHECK(empty.ok() && empty.value().length == 0 && empty.value().limit == 8);

  SocketAddress bound;
  bound.length = sizeof bound.storage;
  CHECK(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.length) == 0);
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(::connect(client.get(), bound.get(), bound.length) == 0);
  CHECK(acceptQueueOf(listener.get()).value().length == 1);

  const Fd unix(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(acceptQueueOf(unix.get()).error() == EOPNOTSUPP);
  CHECK(acceptQueueOf(-1).error() == EBADF);
  return checks();
}
