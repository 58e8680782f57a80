#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstring>
#include <optional>

// Linux 6.5; not in the headers of older systems.
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

namespace reuseport {

/**
 * Walks the control messages of one received packet and calls `visit(header, data, size)` for each.
 *
 * Reads nothing outside `control[0, length)`; a header that does not fit there ends the walk. How much there is is what cmsg_len says,
 * never what was expected: alignment makes a control buffer "for 3" hold 4 (reliability.md I-12), and one that is not counted stays open
 * for ever.
 */
template <typename Visit>
void visitMessages(const void* control, std::size_t length, Visit visit) {
  const char* bytes = static_cast<const char*>(control);
  constexpr std::size_t headerSize = CMSG_LEN(0);

  // Own arithmetic instead of CMSG_NXTHDR, which trusts the length of the message it leaves; and headers are copied out, since nothing
  // promises that `control` is aligned for them.
  std::size_t left = length;
  while (left >= headerSize) {
    cmsghdr header;
    std::memcpy(&header, bytes, sizeof header);
    if (header.cmsg_len < headerSize || header.cmsg_len > left) return;
    visit(header, bytes + headerSize, header.cmsg_len - headerSize);

    // The last message may end without its padding.
    const std::size_t step = CMSG_ALIGN(header.cmsg_len);
    if (step >= left) return;
    bytes += step;
    left -= step;
  }
}

/**
 * Calls `visit(fd, wanted)` for every descriptor that the control messages bring: wanted for those of SCM_RIGHTS, not for a SCM_PIDFD (a
 * socket with SO_PASSPIDFD gets one that nobody asked for). Each is open in this process, so the visitor has to own or close it.
 */
template <typename Visit>
void visitDescriptors(const void* control, std::size_t length, Visit visit) {
  visitMessages(control, length, [&visit](const cmsghdr& header, const char* data, std::size_t size) {
    const bool wanted = header.cmsg_type == SCM_RIGHTS;
    if (header.cmsg_level != SOL_SOCKET || (!wanted && header.cmsg_type != SCM_PIDFD)) return;
    for (std::size_t i = 0; i < size / sizeof(int); i++) {
      int fd;
      std::memcpy(&fd, data + i * sizeof fd, sizeof fd);
      visit(fd, wanted);
    }
  });
}

/** Who sent the packet, as the kernel vouches for it (SCM_CREDENTIALS; only on a socket with SO_PASSCRED). */
inline std::optional<ucred> senderOf(const void* control, std::size_t length) {
  std::optional<ucred> sender;
  visitMessages(control, length, [&sender](const cmsghdr& header, const char* data, std::size_t size) {
    if (header.cmsg_level != SOL_SOCKET || header.cmsg_type != SCM_CREDENTIALS || size < sizeof(ucred)) return;
    ucred from;
    std::memcpy(&from, data, sizeof from);
    sender = from;
  });
  return sender;
}

}  // namespace reuseport
