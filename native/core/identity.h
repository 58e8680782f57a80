#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "result.h"

namespace reuseport {

/** As whom a process runs. */
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
};

/** An entry of the user database (passwd(5)), with the groups that a login of that user would have. */
struct User {
  std::string name;
  uid_t uid;
  gid_t gid;
  std::string home;
  std::string shell;
  std::vector<gid_t> groups;
};

/** Nothing when there is no such entry; an errno when the database cannot be read. */
Result<std::optional<User>> findUser(const std::string& name);
Result<std::optional<User>> findUser(uid_t uid);
Result<std::optional<gid_t>> findGroup(const std::string& name);

/**
 * Becomes this user for good: groups, group, user, in this order, read back, and tried whether there is a way back. Gives null, or the call
 * that failed, with errno. For the child of a vfork: system calls only, and raw ones, since libc's would change every thread of the parent.
 */
const char* becomeForGood(const Identity& identity);

/**
 * The kernel takes from a process that changes its identity, in a thread or in a child that shares its memory, that it can be dumped and
 * traced (PR_SET_DUMPABLE, and with it who owns its files in /proc): for as long as this lives, and not longer.
 */
class KeepDumpable {
 public:
  KeepDumpable();
  ~KeepDumpable();
  KeepDumpable(const KeepDumpable&) = delete;
  KeepDumpable& operator=(const KeepDumpable&) = delete;

 private:
  bool wasDumpable_;
};

/**
 * As whom the calling thread touches files from here on, and no other thread: group, user, supplementary groups. Gives an errno when it
 * may not; then nothing, or something, has changed.
 */
Result<int> useFilesAs(const Identity& identity);

}  // namespace reuseport
