#include "message.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>

#include "ancillary.h"

namespace reuseport {

Result<Done> sendPacket(int socket, const void* data, std::size_t length, const int* descriptors, std::size_t count,
                        const SocketAddress* to) {
  if (count > kMaxDescriptors) return Failure{EINVAL};

  iovec part{const_cast<void*>(data), length};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (to != nullptr) {
    message.msg_name = const_cast<sockaddr*>(to->get());
    message.msg_namelen = to->length;
  }

  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
  }

  const auto sent = attempt([&] { return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
  if (!sent.ok()) return Failure{sent.error()};
  return Done{};
}

Result<Received> receivePacket(int socket, void* buffer, std::size_t capacity) {
  // A full set of rights and, beside it, what a socket with SO_PASSCRED or SO_PASSPIDFD adds; less room would cost descriptors.
  constexpr std::size_t room =
      CMSG_SPACE(kMaxDescriptors * sizeof(int)) + CMSG_SPACE(3 * sizeof(int)) + CMSG_SPACE(sizeof(int));

  Received received;
  // Before the descriptors exist: an allocation that failed after recvmsg would leave them to nobody.
  received.descriptors.reserve(room / sizeof(int));

  iovec part{buffer, capacity};
  alignas(cmsghdr) char control[room];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const auto receive = [&] {
    return attempt([&] {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      return ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    });
  };
  auto length = receive();
  // Said once, before everything else, when the peer closed without having read all we sent (unix_release_sock in the kernel). What it
  // sent itself is still there, and after it comes the end.
  if (length.error() == ECONNRESET) length = receive();
  if (!length.ok()) return Failure{length.error()};

  visitDescriptors(control, message.msg_controllen, [&received](int fd, bool wanted) {
    Fd owned(fd);
    if (wanted) received.descriptors.push_back(std::move(owned));
  });
  received.sender = senderOf(control, message.msg_controllen);
  received.length = static_cast<std::size_t>(length.value());
  received.truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  // With MSG_CTRUNC the kernel has dropped the rest for good (kernel.md §7), and which name belongs to which of these is unknown.
  if (received.truncated) received.descriptors.clear();
  return received;
}

}  // namespace reuseport
