#pragma once

#include <string>
#include <vector>

namespace reuseport {

struct ExecRequest {
  std::string file;
  std::vector<std::string> argv;
  std::vector<std::string> env;
  /** What the program finds open beside 0, 1 and 2, under the same numbers. */
  std::vector<int> fds;
};

/** What stopped it, and in which call. */
struct ExecFailure {
  int error;
  const char* syscall;
};

/**
 * execve(2): another program in this process. Returns only if it could not be done; then every descriptor is as it was. To be called on the
 * main thread: from another one the kernel sends children the signal that they asked for at its end (kernel.md §9).
 */
ExecFailure replaceProcess(const ExecRequest& request);

}  // namespace reuseport
