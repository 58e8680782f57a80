#include "exec.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "result.h"

namespace reuseport {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace

ExecFailure replaceProcess(const ExecRequest& request) {
  // Node makes the first three close-on-exec too: the new image would get /dev/null in their place.
  std::vector<int> kept{0, 1, 2};
  kept.insert(kept.end(), request.fds.begin(), request.fds.end());
  std::vector<std::pair<int, int>> before;
  const auto putBack = [&before] {
    for (const auto& [fd, flags] : before) (void)::fcntl(fd, F_SETFD, flags);
  };
  for (const int fd : kept) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags == -1 && fd <= 2) continue;  // Closed by whoever started us.
    if (flags == -1 || ::fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) == -1) {
      const int error = errno;
      putBack();
      return {error, "fcntl"};
    }
    before.emplace_back(fd, flags);
  }
  const std::vector<char*> argv = pointers(request.argv);
  const std::vector<char*> env = pointers(request.env);
  ::execve(request.file.c_str(), argv.data(), env.data());
  const int error = errno;
  putBack();
  return {error, "execve"};
}

}  // namespace reuseport
