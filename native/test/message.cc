#include "core/message.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "check.h"
#include "open_files.h"

using namespace reuseport;

namespace {

struct Channel {
  Fd left;
  Fd right;

  Channel() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == -1) std::perror("socketpair");
    left = Fd(ends[0]);
    right = Fd(ends[1]);
  }
};

std::vector<int> someDescriptors(const Fd& fd, std::size_t count) { return std::vector<int>(count, fd.get()); }

}  // namespace

int main() {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  char buffer[256];

  for (const std::size_t count : {0, 1, 2, 16, 253}) {
    Channel channel;
    const int before = openFiles();
    const auto fds = someDescriptors(null, count);
    CHECK(sendPacket(channel.left.get(), "hello", 5, fds.data(), count).ok());
    {
      const auto received = receivePacket(channel.right.get(), buffer, sizeof buffer);
      CHECK(received.ok() && received.value().length == 5 && std::memcmp(buffer, "hello", 5) == 0);
      CHECK(!received.value().truncated && received.value().descriptors.size() == count);
      for (const Fd& fd : received.value().descriptors) CHECK(::fcntl(fd.get(), F_GETFD) == FD_CLOEXEC);
    }
    CHECK(openFiles() == before);
  }
  {
    Channel channel;
    const auto fds = someDescriptors(null, 254);
    CHECK(sendPacket(channel.left.get(), "x", 1, fds.data(), fds.size()).error() == EINVAL);
    CHECK(receivePacket(channel.right.get(), buffer, sizeof buffer).error() == EAGAIN);
  }
  {
    // Too little room for the bytes (MSG_TRUNC): the descriptors that came with them are not kept.
    Channel channel;
    const int before = openFiles();
    const auto fds = someDescriptors(null, 5);
    CHECK(sendPacket(channel.left.get(), "hello", 5, fds.data(), fds.size()).ok());
    const auto received = receivePacket(channel.right.get(), buffer, 4);
    CHECK(received.ok() && received.value().truncated && received.value().descriptors.empty() && received.value().length == 4);
    CHECK(openFiles() == before);
  }
  {
    // Too few descriptors left in this process (MSG_CTRUNC): some arrive, none is kept.
    Channel channel;
    const int before = openFiles();
    const auto fds = someDescriptors(null, 10);
    CHECK(sendPacket(channel.left.get(), "hello", 5, fds.data(), fds.size()).ok());
    rlimit limit;
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const Fd highest(::fcntl(null.get(), F_DUPFD_CLOEXEC, 0));
    const rlimit tight{static_cast<rlim_t>(highest.get() + 5), limit.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &tight);
    const auto received = receivePacket(channel.right.get(), buffer, sizeof buffer);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    CHECK(received.ok() && received.value().truncated && received.value().descriptors.empty() && received.value().length == 5);
    CHECK(openFiles() == before + 1);
  }
  {
    // The end of the channel, and what a peer said before it closed without reading.
    Channel channel;
    CHECK(sendPacket(channel.right.get(), "unread", 6, nullptr, 0).ok());
    CHECK(sendPacket(channel.left.get(), "last", 4, nullptr, 0).ok());
    channel.left = Fd();
    const auto last = receivePacket(channel.right.get(), buffer, sizeof buffer);
    CHECK(last.ok() && last.value().length == 4 && std::memcmp(buffer, "last", 4) == 0);
    const auto end = receivePacket(channel.right.get(), buffer, sizeof buffer);
    CHECK(end.ok() && end.value().length == 0);
    CHECK(sendPacket(channel.right.get(), "x", 1, nullptr, 0).error() == EPIPE);
  }
  {
    // A full queue takes nothing, neither bytes nor descriptors.
    Channel channel;
    const auto fds = someDescriptors(null, 253);
    int sent = 0;
    while (sendPacket(channel.left.get(), "x", 1, fds.data(), fds.size()).ok()) sent++;
    CHECK(sendPacket(channel.left.get(), "x", 1, fds.data(), fds.size()).error() == EAGAIN);
    for (int received = 0; received < sent; received++) {
      CHECK(receivePacket(channel.right.get(), buffer, sizeof buffer).value().descriptors.size() == 253);
    }
    CHECK(receivePacket(channel.right.get(), buffer, sizeof buffer).error() == EAGAIN);
  }
  {
    // SO_PASSCRED adds credentials to every packet: there is room for them beside a full set of descriptors.
    Channel channel;
    const int on = 1;
    ::setsockopt(channel.right.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    const auto fds = someDescriptors(null, 253);
    CHECK(sendPacket(channel.left.get(), "x", 1, fds.data(), fds.size()).ok());
    const auto received = receivePacket(channel.right.get(), buffer, sizeof buffer);
    CHECK(received.ok() && !received.value().truncated && received.value().descriptors.size() == 253);
    CHECK(received.value().sender && received.value().sender->pid == ::getpid() && received.value().sender->uid == ::geteuid());
  }
  {
    // And none where nobody asked for them.
    Channel channel;
    CHECK(sendPacket(channel.left.get(), "x", 1, nullptr, 0).ok());
    CHECK(!receivePacket(channel.right.get(), buffer, sizeof buffer).value().sender);
  }
  return checks();
}
