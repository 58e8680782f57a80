#include "tcp_info.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>

namespace reuseport {

Result<AcceptQueue> decodeAcceptQueue(const void* info, std::size_t length) {
  if (length < kTcpInfoSize) return Failure{EINVAL};
  tcp_info decoded{};
  std::memcpy(&decoded, info, kTcpInfoSize);
  // For any other state the two fields count segments, not connections.
  if (decoded.tcpi_state != TCP_LISTEN) return Failure{EINVAL};
  return AcceptQueue{decoded.tcpi_unacked, decoded.tcpi_sacked};
}

Result<AcceptQueue> acceptQueueOf(int socket) {
  char info[kTcpInfoSize];
  socklen_t length = sizeof info;
  const auto read = attempt([&] { return ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, info, &length); });
  if (!read.ok()) return Failure{read.error()};
  return decodeAcceptQueue(info, length);
}

}  // namespace reuseport
