#include "signals.h"

#include <csignal>

namespace reuseport {
namespace {

struct Name {
  int number;
  const char* text;
};

#define SIGNAL(name) {name, #name}
constexpr Name kNames[] = {
    SIGNAL(SIGHUP),    SIGNAL(SIGINT),  SIGNAL(SIGQUIT), SIGNAL(SIGILL),  SIGNAL(SIGTRAP), SIGNAL(SIGABRT),
    SIGNAL(SIGBUS),    SIGNAL(SIGFPE),  SIGNAL(SIGKILL), SIGNAL(SIGUSR1), SIGNAL(SIGSEGV), SIGNAL(SIGUSR2),
    SIGNAL(SIGPIPE),   SIGNAL(SIGALRM), SIGNAL(SIGTERM), SIGNAL(SIGCHLD), SIGNAL(SIGCONT), SIGNAL(SIGSTOP),
    SIGNAL(SIGTSTP),   SIGNAL(SIGTTIN), SIGNAL(SIGTTOU), SIGNAL(SIGURG),  SIGNAL(SIGXCPU), SIGNAL(SIGXFSZ),
    SIGNAL(SIGVTALRM), SIGNAL(SIGPROF), SIGNAL(SIGIO),   SIGNAL(SIGPWR),  SIGNAL(SIGSYS),
#ifdef SIGSTKFLT
    SIGNAL(SIGSTKFLT),
#endif
#ifdef SIGWINCH
    SIGNAL(SIGWINCH),
#endif
};
#undef SIGNAL

}  // namespace

std::string signalName(int number) {
  for (const Name& name : kNames) {
    if (name.number == number) return name.text;
  }
  return "SIG" + std::to_string(number);
}

}  // namespace reuseport
