#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "address.h"
#include "fd.h"
#include "result.h"

namespace reuseport {

/** Most descriptors the kernel takes in one message (SCM_MAX_FD, unix(7)); one more is EINVAL. */
constexpr std::size_t kMaxDescriptors = 253;

struct Received {
  /** Bytes written to the caller's buffer; 0 is the end of the channel. */
  std::size_t length = 0;
  std::vector<Fd> descriptors;
  /** The packet was longer than the buffer, or not all of its descriptors arrived: then those that did were closed again. */
  bool truncated = false;
  /** Only on a socket with SO_PASSCRED. */
  std::optional<ucred> sender;
};

/**
 * Sends one packet with copies of at most kMaxDescriptors descriptors (EINVAL above), never waiting. All or nothing: on a packet
 * socket the kernel takes bytes and descriptors together. `to`: where a datagram goes; null on a socket that is connected.
 */
Result<Done> sendPacket(int socket, const void* data, std::size_t length, const int* descriptors, std::size_t count,
                        const SocketAddress* to = nullptr);

/**
 * Receives one packet, never waiting. Its descriptors are close-on-exec from the first moment (MSG_CMSG_CLOEXEC). A peer that closed
 * without having read everything is no error: its last packets come, then the end.
 */
Result<Received> receivePacket(int socket, void* buffer, std::size_t capacity);

}  // namespace reuseport
