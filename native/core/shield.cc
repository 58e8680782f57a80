#include "shield.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>

#include "shielded.h"

namespace reuseport {
namespace {

constexpr std::size_t kCount = sizeof kShieldedSignals / sizeof kShieldedSignals[0];

volatile pid_t waitingThread = 0;
struct sigaction before[kCount];
bool isReplaced[kCount];

/** Node's other threads have signals unblocked, and libuv's handler would put them into a pipe that nobody reads any more. */
void passOn(int number) {
  const int error = errno;
  ::syscall(SYS_tgkill, ::getpid(), waitingThread, number);
  errno = error;
}

/** By the raw call: whoever stands in for the library's function (native/shield.c) would keep them blocked. */
void change(int how) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kShieldedSignals) sigaddset(&set, number);
  ::syscall(SYS_rt_sigprocmask, how, &set, nullptr, static_cast<std::size_t>(_NSIG / 8));
}

}  // namespace

void raiseShield() {
  change(SIG_BLOCK);
  waitingThread = static_cast<pid_t>(::syscall(SYS_gettid));
  for (std::size_t i = 0; i < kCount; i++) {
    struct sigaction now {};
    if (isReplaced[i] || ::sigaction(kShieldedSignals[i], nullptr, &now) == -1) continue;
    if (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN) continue;
    struct sigaction ours {};
    ours.sa_handler = passOn;
    ours.sa_flags = SA_RESTART;
    sigfillset(&ours.sa_mask);
    isReplaced[i] = ::sigaction(kShieldedSignals[i], &ours, &before[i]) == 0;
  }
}

void lowerShield() {
  for (std::size_t i = 0; i < kCount; i++) {
    if (isReplaced[i]) ::sigaction(kShieldedSignals[i], &before[i], nullptr);
    isReplaced[i] = false;
  }
  change(SIG_UNBLOCK);
}

}  // namespace reuseport
