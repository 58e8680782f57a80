#include "core/exec.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "check.h"
#include "core/shield.h"

using reuseport::ExecFailure;
using reuseport::ExecRequest;
using reuseport::replaceProcess;

namespace {

/** Exit code of what a child of ours becomes. */
int codeOf(const std::string& file, const std::vector<std::string>& words, const std::vector<int>& fds, bool isShielded = false) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (isShielded) {
      ::signal(SIGTERM, [](int) {});
      reuseport::raiseShield();
      ::kill(::getpid(), SIGTERM);
    }
    replaceProcess(ExecRequest{file, words, {"PATH=/usr/bin:/bin", "MARK=one"}, fds});
    ::_exit(126);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main() {
  const int kept = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int other = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const std::string keptPath = "/proc/self/fd/" + std::to_string(kept);
  const std::string otherPath = "/proc/self/fd/" + std::to_string(other);
  const std::string script = "test -e " + keptPath + " && ! test -e " + otherPath + " && test $MARK = one";
  // Only what is named stays open; the environment is the one given.
  CHECK(codeOf("/bin/sh", {"sh", "-c", script}, {kept}) == 0);

  // What cannot be executed leaves everything as it was.
  const ExecFailure missing = replaceProcess(ExecRequest{"/no/such/file", {"x"}, {}, {kept}});
  CHECK(missing.error == ENOENT);
  CHECK(::fcntl(kept, F_GETFD) == FD_CLOEXEC);
  const ExecFailure closed = replaceProcess(ExecRequest{"/bin/sh", {"sh"}, {}, {kept, 1'000'000}});
  CHECK(closed.error == EBADF);
  CHECK(::fcntl(kept, F_GETFD) == FD_CLOEXEC);

  // A signal that came behind the shield is pending in the new image, and blocked: SIGTERM is bit 14. (A shell would unblock it.)
  for (const char* name : {"(ShdPnd|SigPnd)", "SigBlk"}) {
    const std::string pattern = std::string("^") + name + ":.*[4-7c-f][0-9a-f]{3}$";
    CHECK(codeOf("/bin/grep", {"grep", "-Eq", pattern, "/proc/self/status"}, {}, true) == 0);
  }
  return checks();
}
