#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "fd.h"
#include "identity.h"
#include "result.h"

namespace reuseport {

struct SpawnRequest {
  std::string file;
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd;
  int stdio[3];
  /** What the program gets as descriptors 3, 4 …, in this order. */
  std::vector<int> fds = {};
  /** Variable whose value is the new process's own pid, which nobody knows before it is there (LISTEN_PID); empty: none. */
  std::string pidVariable = {};
  /** As whom; nothing: as this process. */
  std::optional<Identity> identity = {};
  /** It is killed when the thread that starts it ends (PR_SET_PDEATHSIG). */
  bool diesWithParent = false;
};

struct Spawned {
  pid_t pid = 0;
  Fd pidfd;
};

/** What failed, and in which call: "chdir" and "execve" both say ENOENT. */
struct SpawnFailure {
  int error = 0;
  const char* syscall = nullptr;
};

/**
 * Starts `file` in a session of its own, in `cwd`, with default signal dispositions, an empty signal mask, and the
 * descriptors 0, 1, 2, those of `fds`, and no other. Returns once the program runs, or with what stopped it; then no child is left.
 *
 * A session, not only a process group: a terminal can then neither stop it (a background job that writes, with `stty tostop`; SIGTSTP)
 * nor signal it.
 *
 * Not posix_spawn: its chdir action needs glibc 2.29 (Node 20-26 run on 2.28), it cannot tell a missing directory from a missing
 * program, and it closes no inherited descriptors.
 */
Spawned startProcess(const SpawnRequest& request, SpawnFailure& failure);

}  // namespace reuseport
