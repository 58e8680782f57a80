/**
 * delay MS: a network namespace at a distance. Makes a pair of TUN devices, "near" (10.9.0.1) in the namespace that it is started in and "far" (10.9.0.2)
 * in a new one, and holds every packet between them for MS milliseconds: the round trip takes twice that. No packet is lost.
 * Prints its pid when both are up (`nsenter --net=/proc/PID/ns/net` is over there), and ends with its standard input.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kLargestPacket = 65536;

struct Packet {
  Clock::time_point due;
  std::vector<char> bytes;
};

struct Way {
  int from;
  int to;
  std::deque<Packet> held;
};

int checked(int result, const char *what) {
  if (result < 0) {
    std::perror(what);
    std::exit(1);
  }
  return result;
}

void setAddress(int socket, ifreq request, unsigned long what, const char *address) {
  auto *inet = reinterpret_cast<sockaddr_in *>(&request.ifr_addr);
  inet->sin_family = AF_INET;
  checked(inet_pton(AF_INET, address, &inet->sin_addr) == 1 ? 0 : -1, address);
  checked(ioctl(socket, what, &request), address);
}

void bringUp(int socket, const char *name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  checked(ioctl(socket, SIOCGIFFLAGS, &request), name);
  request.ifr_flags |= IFF_UP;
  checked(ioctl(socket, SIOCSIFFLAGS, &request), name);
}

/** A device in the namespace that this process is in now. */
int makeDevice(const char *name, const char *own, const char *other) {
  const int device = checked(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), "/dev/net/tun");
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  checked(ioctl(device, TUNSETIFF, &request), "TUNSETIFF");
  const int socket = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  setAddress(socket, request, SIOCSIFADDR, own);
  setAddress(socket, request, SIOCSIFDSTADDR, other);
  // A full queue of the device would lose packets while this process waits for a processor.
  request.ifr_qlen = 20000;
  checked(ioctl(socket, SIOCSIFTXQLEN, &request), "SIOCSIFTXQLEN");
  bringUp(socket, name);
  bringUp(socket, "lo");
  close(socket);
  return device;
}

void take(Way &way, Clock::duration delay) {
  static std::vector<char> buffer(kLargestPacket);
  for (;;) {
    const ssize_t length = read(way.from, buffer.data(), buffer.size());
    if (length <= 0) return;
    way.held.push_back({Clock::now() + delay, std::vector<char>(buffer.begin(), buffer.begin() + length)});
  }
}

void pass(Way &way) {
  while (!way.held.empty() && way.held.front().due <= Clock::now()) {
    const auto &bytes = way.held.front().bytes;
    checked(write(way.to, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) ? 0 : -1, "write");
    way.held.pop_front();
  }
}

/** Milliseconds until the next packet is due, rounded up; -1: none is held. */
int untilDue(const std::vector<Way> &ways) {
  int least = -1;
  for (const Way &way : ways) {
    if (way.held.empty()) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(way.held.front().due - Clock::now()).count();
    const int ms = left < 0 ? 0 : static_cast<int>(left);
    if (least < 0 || ms < least) least = ms;
  }
  return least;
}

}  // namespace

int main(int argc, char **argv) {
  const auto delay = std::chrono::milliseconds(argc > 1 ? std::atoi(argv[1]) : 0);
  const int near = makeDevice("near", "10.9.0.1", "10.9.0.2");
  checked(unshare(CLONE_NEWNET), "unshare");
  const int far = makeDevice("far", "10.9.0.2", "10.9.0.1");
  std::printf("%d\n", getpid());
  std::fflush(stdout);
  std::vector<Way> ways{{near, far, {}}, {far, near, {}}};
  std::vector<pollfd> polled{{near, POLLIN, 0}, {far, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  for (;;) {
    if (poll(polled.data(), polled.size(), untilDue(ways)) < 0 && errno != EINTR) checked(-1, "poll");
    if (polled[2].revents != 0) return 0;
    for (Way &way : ways) take(way, delay);
    for (Way &way : ways) pass(way);
  }
}
