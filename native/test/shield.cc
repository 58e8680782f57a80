#include "core/shield.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "check.h"

namespace {

std::atomic<int> handled{0};
std::atomic<pid_t> handledBy{0};

pid_t self() { return static_cast<pid_t>(::syscall(SYS_gettid)); }

void handler(int) {
  handledBy = self();
  handled++;
}

bool isPending(int number) {
  sigset_t set;
  ::sigpending(&set);
  return sigismember(&set, number) == 1;
}

}  // namespace

int main() {
  ::signal(SIGHUP, handler);
  reuseport::raiseShield();

  // For the whole process, with the main thread blocked: another thread takes it, and the main one is left with it.
  std::atomic<bool> isOver{false};
  std::thread other([&] {
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    while (!isOver) ::usleep(100);
  });
  ::kill(::getpid(), SIGHUP);
  for (int n = 0; n < 10'000 && !isPending(SIGHUP); n++) ::usleep(100);
  CHECK(isPending(SIGHUP));
  CHECK(handled == 0);

  // One more of the same kind is the same one.
  ::kill(::getpid(), SIGHUP);
  reuseport::lowerShield();
  CHECK(handled >= 1);
  CHECK(handledBy == self());
  CHECK(!isPending(SIGHUP));
  struct sigaction now {};
  CHECK(::sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == handler);

  // Twice is as good as once.
  reuseport::raiseShield();
  reuseport::raiseShield();
  reuseport::lowerShield();
  CHECK(::sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == handler);
  isOver = true;
  other.join();
  return checks();
}
