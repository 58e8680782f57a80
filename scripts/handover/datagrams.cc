/**
 * datagrams PORT RATE: sends RATE numbered datagrams a second to 127.0.0.1:PORT, none of them twice, and counts what comes back: each as
 * "<whatever> <its number>". It waits for no answer. When its standard input ends it sends no more, waits up to three seconds for what is under way, and
 * prints {"rate","sent","lost","twice","longest"} as JSON; `longest` is the longest time in ms between two answers.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kBufferBytes = 4'000'000;
constexpr std::size_t kBatch = 64;
constexpr std::size_t kLongest = 64;
/** What is late is not made up for all at once: that would be another rate. So much of a second may be sent in a burst. */
constexpr double kBurst = 0.01;
constexpr auto kLast = std::chrono::seconds(3);

[[noreturn]] void fail(const char *what) {
  std::perror(what);
  std::exit(1);
}

class Client {
public:
  Client(std::uint16_t port, double rate) : rate_(rate), fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    if (fd_ < 0) fail("socket");
    for (const int option : {SO_RCVBUF, SO_SNDBUF})
      if (setsockopt(fd_, SOL_SOCKET, option, &kBufferBytes, sizeof kBufferBytes) != 0) fail("setsockopt");
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<const sockaddr *>(&to), sizeof to) != 0) fail("connect");
  }

  void run() {
    const auto begin = Clock::now();
    auto from = begin;
    lastAnswer_ = begin;
    for (bool goes = true; goes;) {
      const auto due = static_cast<std::size_t>(Seconds(Clock::now() - from).count() * rate_);
      const auto most = sentSince_ + static_cast<std::size_t>(rate_ * kBurst) + 1;
      if (due > most) {
        // It did not get a processor in time: it goes on from here.
        send(most - sentSince_);
        from = Clock::now();
        sentSince_ = 0;
      } else {
        send(due - sentSince_);
      }
      receive();
      goes = wait(1);
    }
    const double seconds = Seconds(Clock::now() - begin).count();
    for (const auto until = Clock::now() + kLast; answered_ < counts_.size() && Clock::now() < until;) {
      pollfd look{fd_, POLLIN, 0};
      poll(&look, 1, 20);
      receive();
    }
    std::printf("{\"rate\":%.0f,\"sent\":%zu,\"lost\":%zu,\"twice\":%zu,\"longest\":%.0f}\n", static_cast<double>(counts_.size()) / seconds,
                counts_.size(), counts_.size() - answered_, twice_, longest_.count() * 1000);
  }

private:
  /** False when the standard input has ended. */
  bool wait(int ms) {
    std::array<pollfd, 2> look{{{fd_, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
    if (poll(look.data(), look.size(), ms) < 0 && errno != EINTR) fail("poll");
    return look[1].revents == 0;
  }

  void send(std::size_t count) {
    while (count > 0) {
      std::array<std::array<char, kLongest>, kBatch> text;
      std::array<iovec, kBatch> parts{};
      std::array<mmsghdr, kBatch> messages{};
      const std::size_t wanted = count < kBatch ? count : kBatch;
      for (std::size_t one = 0; one < wanted; one++) {
        const int length = std::snprintf(text[one].data(), kLongest, "%zu", counts_.size() + one);
        parts[one] = {text[one].data(), static_cast<std::size_t>(length)};
        messages[one].msg_hdr.msg_iov = &parts[one];
        messages[one].msg_hdr.msg_iovlen = 1;
      }
      const int sent = sendmmsg(fd_, messages.data(), static_cast<unsigned>(wanted), 0);
      if (sent <= 0) {
        // ECONNREFUSED is the answer to an earlier one, when nobody has the port: it counts as lost if it is.
        if (errno == ECONNREFUSED) continue;
        if (errno == EAGAIN || errno == ENOBUFS) return;
        fail("sendmmsg");
      }
      counts_.resize(counts_.size() + static_cast<std::size_t>(sent));
      sentSince_ += static_cast<std::size_t>(sent);
      count -= static_cast<std::size_t>(sent);
    }
  }

  void receive() {
    for (;;) {
      std::array<std::array<char, kLongest>, kBatch> text;
      std::array<iovec, kBatch> parts{};
      std::array<mmsghdr, kBatch> messages{};
      for (std::size_t one = 0; one < kBatch; one++) {
        parts[one] = {text[one].data(), kLongest - 1};
        messages[one].msg_hdr.msg_iov = &parts[one];
        messages[one].msg_hdr.msg_iovlen = 1;
      }
      const int got = recvmmsg(fd_, messages.data(), kBatch, 0, nullptr);
      if (got <= 0) {
        if (errno == ECONNREFUSED) continue;
        return;
      }
      const auto now = Clock::now();
      if (now - lastAnswer_ > longest_) longest_ = now - lastAnswer_;
      lastAnswer_ = now;
      for (std::size_t one = 0; one < static_cast<std::size_t>(got); one++) count(text[one].data(), messages[one].msg_len);
    }
  }

  void count(char *text, std::size_t length) {
    text[length] = '\0';
    const char *space = std::strchr(text, ' ');
    const std::size_t number = space == nullptr ? counts_.size() : std::strtoull(space + 1, nullptr, 10);
    if (number >= counts_.size()) fail("an answer to nothing");
    if (counts_[number]++ == 0)
      answered_++;
    else
      twice_++;
  }

  double rate_;
  int fd_;
  /** Answers to each that was sent. */
  std::vector<std::uint8_t> counts_;
  std::size_t sentSince_ = 0;
  std::size_t answered_ = 0;
  std::size_t twice_ = 0;
  Clock::time_point lastAnswer_;
  Seconds longest_{0};
};

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: datagrams PORT RATE\n");
    return 2;
  }
  Client(static_cast<std::uint16_t>(std::atoi(argv[1])), std::atof(argv[2])).run();
  return 0;
}
