/*
 * Preloaded into the Node that takes the launcher's place (LD_PRELOAD). Node begins with an empty signal mask, whatever it inherited, and
 * with default dispositions: for its first 25 to 60 ms every signal would end it (prototypes.md f). With this object what was blocked before
 * execve(2) stays so, until the program has its handlers and lowers the shield.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/shielded.h"

#define EXPORTED __attribute__((visibility("default")))

static volatile sig_atomic_t isUp = 1;

/** From now on the functions below do what those of the C library do. */
EXPORTED void reuseport_shield_lower(void) { isUp = 0; }

/** The C library keeps its own signals (32 to 34) out of every mask. */
static void leaveInternal(sigset_t *set) {
  for (int number = 32; number <= 34; number++) *(unsigned long long *)set &= ~(1ull << (number - 1));
}

EXPORTED int pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
  sigset_t wanted;
  if (set != NULL) {
    wanted = *set;
    leaveInternal(&wanted);
    for (size_t i = 0; isUp && i < sizeof kShieldedSignals / sizeof kShieldedSignals[0]; i++) {
      if (how == SIG_SETMASK) sigaddset(&wanted, kShieldedSignals[i]);
      if (how == SIG_UNBLOCK) sigdelset(&wanted, kShieldedSignals[i]);
    }
    set = &wanted;
  }
  /* The kernel's set has 64 signals; libc's is larger. What is above is not written to. */
  if (before != NULL) sigemptyset(before);
  if (syscall(SYS_rt_sigprocmask, how, set, before, _NSIG / 8) == 0) return 0;
  return errno;
}

EXPORTED int sigprocmask(int how, const sigset_t *set, sigset_t *before) {
  const int error = pthread_sigmask(how, set, before);
  if (error == 0) return 0;
  errno = error;
  return -1;
}
