#include "core/identity.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <string>
#include <thread>

#include "check.h"
#include "core/fd.h"

using namespace reuseport;

namespace {

constexpr uid_t kNobody = 65534;

/** What `become` and `check` say in a process of its own: 0 when both are content. */
template <typename Check>
int inChild(const Identity& identity, Check check) {
  const pid_t child = ::fork();
  if (child == 0) {
    const char* const failed = becomeForGood(identity);
    ::_exit(failed != nullptr ? 100 : check() ? 0 : 1);
  }
  int status = -1;
  CHECK(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

uid_t ownerOfNewFile(const std::string& directory) {
  const std::string path = directory + "/file";
  const Fd file(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  struct stat facts {};
  if (file.get() == -1 || ::fstat(file.get(), &facts) == -1) return static_cast<uid_t>(-1);
  ::unlink(path.c_str());
  return facts.st_uid;
}

}  // namespace

int main() {
  const auto root = findUser("root");
  CHECK(root.ok() && root.value().has_value() && root.value()->uid == 0 && root.value()->home == "/root");
  const auto same = findUser(static_cast<uid_t>(0));
  CHECK(same.ok() && same.value().has_value() && same.value()->name == "root" && same.value()->groups == root.value()->groups);
  CHECK(!root.value()->groups.empty() && root.value()->groups[0] == 0);
  const auto group = findGroup("root");
  CHECK(group.ok() && group.value() == 0u);
  const auto none = findUser("no such user");
  CHECK(none.ok() && !none.value().has_value());
  const auto noNumber = findUser(static_cast<uid_t>(4'000'000'000));
  CHECK(noNumber.ok() && !noNumber.value().has_value());
  const auto noGroup = findGroup("no such group");
  CHECK(noGroup.ok() && !noGroup.value().has_value());

  const Identity nobody{kNobody, kNobody, {kNobody, 1234}};
  if (::getuid() != 0) {
    CHECK(inChild(nobody, [] { return true; }) == 100);
    return checks();
  }

  // Groups, group, user: all of them, and no way back.
  CHECK(inChild(nobody, [] {
          gid_t groups[8];
          const int count = ::getgroups(8, groups);
          return count == 2 && groups[0] == 1234 && groups[1] == kNobody && ::getuid() == kNobody && ::geteuid() == kNobody &&
                 ::getgid() == kNobody && ::getegid() == kNobody && ::setuid(0) == -1 && errno == EPERM && ::setgid(0) == -1;
        }) == 0);
  CHECK(inChild({kNobody, kNobody, {}}, [] { return ::getgroups(0, nullptr) == 0; }) == 0);
  CHECK(inChild({0, 0, {}}, [] { return ::getuid() == 0; }) == 0);
  CHECK(inChild({kNobody, static_cast<gid_t>(-1), {}}, [] { return true; }) == 100);

  // Files only, of one thread only, and back.
  char directory[] = "/tmp/identity-XXXXXX";
  CHECK(::mkdtemp(directory) != nullptr && ::chmod(directory, 0777) == 0);
  std::thread([&] {
    CHECK(ownerOfNewFile(directory) == 0);
    CHECK(useFilesAs(nobody).ok());
    CHECK(ownerOfNewFile(directory) == kNobody);
    CHECK(::open("/etc/shadow", O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES);
    CHECK(::geteuid() == 0 && ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
    CHECK(useFilesAs({0, 0, {}}).ok());
    CHECK(ownerOfNewFile(directory) == 0);
    CHECK(Fd(::open("/etc/shadow", O_RDONLY | O_CLOEXEC)).get() != -1);
    CHECK(useFilesAs(nobody).ok());
  }).join();
  CHECK(ownerOfNewFile(directory) == 0);
  CHECK(::rmdir(directory) == 0);
  return checks();
}
