#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstring>

// Linux 6.5; not in the headers of older systems.
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

namespace reuseport {

/**
 * Walks the control messages of one received packet and calls `visit(fd, wanted)` for every descriptor they bring: wanted for those of
 * SCM_RIGHTS, not for a SCM_PIDFD (a socket with SO_PASSPIDFD gets one that nobody asked for). Each is open in this process, so the
 * visitor has to own or close it. Other kinds of messages bring none and are skipped.
 *
 * Reads nothing outside `control[0, length)`; a header that does not fit there ends the walk. How many descriptors there are is what
 * cmsg_len says, never what was expected: alignment makes a control buffer "for 3" hold 4 (reliability.md I-12), and one that is not
 * counted stays open for ever.
 */
template <typename Visit>
void visitDescriptors(const void* control, std::size_t length, Visit visit) {
  const char* bytes = static_cast<const char*>(control);
  constexpr std::size_t headerSize = CMSG_LEN(0);

  // Own arithmetic instead of CMSG_NXTHDR, which trusts the length of the message it leaves; and headers are copied out, since nothing
  // promises that `control` is aligned for them.
  std::size_t left = length;
  while (left >= headerSize) {
    cmsghdr header;
    std::memcpy(&header, bytes, sizeof header);
    if (header.cmsg_len < headerSize || header.cmsg_len > left) return;

    const bool wanted = header.cmsg_type == SCM_RIGHTS;
    if (header.cmsg_level == SOL_SOCKET && (wanted || header.cmsg_type == SCM_PIDFD)) {
      const std::size_t count = (header.cmsg_len - headerSize) / sizeof(int);
      for (std::size_t i = 0; i < count; i++) {
        int fd;
        std::memcpy(&fd, bytes + headerSize + i * sizeof fd, sizeof fd);
        visit(fd, wanted);
      }
    }

    // The last message may end without its padding.
    const std::size_t step = CMSG_ALIGN(header.cmsg_len);
    if (step >= left) return;
    bytes += step;
    left -= step;
  }
}

}  // namespace reuseport
