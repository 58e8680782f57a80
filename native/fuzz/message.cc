// Packets with real descriptors over a real channel: each one that arrives is owned or closed exactly once, whatever fits.

#include "core/message.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>

namespace {

/** The lowest free number; one higher than before means that something was not closed. */
int nextDescriptor(int any) {
  const reuseport::Fd probe(::fcntl(any, F_DUPFD_CLOEXEC, 0));
  return probe.get();
}

/** How many descriptors this process could open if only numbers below `end` were allowed. */
std::size_t freeBelow(int end) {
  std::size_t count = 0;
  for (int fd = 0; fd < end; fd++) count += ::fcntl(fd, F_GETFD) == -1;
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int before = nextDescriptor(null);
  {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == -1) std::abort();
    const reuseport::Fd left(ends[0]);
    const reuseport::Fd right(ends[1]);

    // Three bytes a packet: descriptors sent, room for bytes, descriptors this process may still open.
    for (; size >= 3; data += 3, size -= 3) {
      const std::vector<int> descriptors(data[0], null);
      char bytes[256] = {};
      const auto sent = reuseport::sendPacket(left.get(), bytes, 32, descriptors.data(), descriptors.size());
      if (sent.ok() != (data[0] <= reuseport::kMaxDescriptors)) std::abort();
      if (!sent.ok()) continue;

      rlimit limit;
      ::getrlimit(RLIMIT_NOFILE, &limit);
      const int end = nextDescriptor(null) + data[2];
      const std::size_t allowed = freeBelow(end);
      const rlimit tight{static_cast<rlim_t>(end), limit.rlim_max};
      ::setrlimit(RLIMIT_NOFILE, &tight);
      const std::size_t room = data[1] % 64;
      const auto received = reuseport::receivePacket(right.get(), bytes, room);
      ::setrlimit(RLIMIT_NOFILE, &limit);
      if (!received.ok()) std::abort();
      const bool whole = room >= 32 && allowed >= data[0];
      if (received.value().truncated == whole) std::abort();
      if (received.value().descriptors.size() != (whole ? data[0] : 0)) std::abort();
    }
  }
  if (nextDescriptor(null) != before) std::abort();
  return 0;
}
