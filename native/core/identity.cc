#include "identity.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <utility>

// 32-bit machines have a second set of these calls, for ids of 32 bits.
#ifdef SYS_setresuid32
#define REUSEPORT_ID(name) SYS_##name##32
#else
#define REUSEPORT_ID(name) SYS_##name
#endif

namespace reuseport {
namespace {

/** Bytes for the strings of one entry; a database may hold longer ones, up to kMostBytes. */
constexpr std::size_t kFirstBytes = 4096;
constexpr std::size_t kMostBytes = 1024 * 1024;

/** Asks with a buffer that grows. `ask` is a call of the getpwnam_r kind: gives an errno, and sets the pointer that it is passed. */
template <typename Entry, typename Ask, typename Use>
auto lookUp(const Ask& ask, const Use& use) -> Result<std::optional<decltype(use(std::declval<Entry&>()))>> {
  using Found = std::optional<decltype(use(std::declval<Entry&>()))>;
  for (std::size_t size = kFirstBytes;; size *= 2) {
    std::vector<char> buffer(size);
    Entry entry{};
    Entry* found = nullptr;
    const int error = ask(&entry, buffer.data(), buffer.size(), &found);
    if (error == EINTR) continue;
    if (error == ERANGE && size < kMostBytes) continue;
    if (found != nullptr) return Found(use(*found));
    // What different libraries say of an entry that is not there (getpwnam(3)).
    if (error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM) return Found();
    return Failure{error};
  }
}

std::vector<gid_t> groupsOf(const char* name, gid_t gid) {
  int count = 64;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  while (::getgrouplist(name, gid, groups.data(), &count) == -1) {
    // Some libraries do not say how many there are.
    if (static_cast<std::size_t>(count) <= groups.size()) count = static_cast<int>(groups.size() * 2);
    if (count > NGROUPS_MAX) count = NGROUPS_MAX;
    if (static_cast<std::size_t>(count) == groups.size()) break;
    groups.resize(static_cast<std::size_t>(count));
  }
  groups.resize(static_cast<std::size_t>(count));
  return groups;
}

User userFrom(const passwd& entry) {
  return User{entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell, groupsOf(entry.pw_name, entry.pw_gid)};
}

}  // namespace

Result<std::optional<User>> findUser(const std::string& name) {
  return lookUp<passwd>(
      [&](passwd* entry, char* buffer, std::size_t size, passwd** found) { return ::getpwnam_r(name.c_str(), entry, buffer, size, found); },
      userFrom);
}

Result<std::optional<User>> findUser(uid_t uid) {
  return lookUp<passwd>(
      [&](passwd* entry, char* buffer, std::size_t size, passwd** found) { return ::getpwuid_r(uid, entry, buffer, size, found); },
      userFrom);
}

Result<std::optional<gid_t>> findGroup(const std::string& name) {
  return lookUp<group>(
      [&](group* entry, char* buffer, std::size_t size, group** found) { return ::getgrnam_r(name.c_str(), entry, buffer, size, found); },
      [](const group& entry) { return entry.gr_gid; });
}

__attribute__((no_sanitize("address", "thread", "undefined"))) const char* becomeForGood(const Identity& identity) {
  const gid_t gid = identity.gid;
  const uid_t uid = identity.uid;
  if (::syscall(REUSEPORT_ID(setgroups), identity.groups.size(), identity.groups.data()) == -1) return "setgroups";
  if (::syscall(REUSEPORT_ID(setresgid), gid, gid, gid) == -1) return "setresgid";
  if (::syscall(REUSEPORT_ID(setresuid), uid, uid, uid) == -1) return "setresuid";

  uid_t real = 0, effective = 0, saved = 0;
  if (::syscall(REUSEPORT_ID(getresuid), &real, &effective, &saved) == -1) return "getresuid";
  gid_t realGroup = 0, effectiveGroup = 0, savedGroup = 0;
  if (::syscall(REUSEPORT_ID(getresgid), &realGroup, &effectiveGroup, &savedGroup) == -1) return "getresgid";
  const long groups = ::syscall(REUSEPORT_ID(getgroups), 0, nullptr);
  errno = EPERM;
  if (real != uid || effective != uid || saved != uid) return "getresuid";
  if (realGroup != gid || effectiveGroup != gid || savedGroup != gid) return "getresgid";
  if (groups != static_cast<long>(identity.groups.size())) return "getgroups";
  // With SECBIT_NO_SETUID_FIXUP the capability to change would have stayed (capabilities(7)).
  if (uid != 0 && ::syscall(REUSEPORT_ID(setresuid), 0, 0, 0) != -1) {
    errno = EPERM;
    return "setresuid";
  }
  return nullptr;
}

KeepDumpable::KeepDumpable() : wasDumpable_(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1) {}
KeepDumpable::~KeepDumpable() {
  if (wasDumpable_) ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

Result<int> useFilesAs(const Identity& identity) {
  const KeepDumpable keep;
  const bool isDown = identity.uid != 0;
  const auto groups = [&] { return static_cast<int>(::syscall(REUSEPORT_ID(setgroups), identity.groups.size(), identity.groups.data())); };
  const auto setGroups = attempt(groups);
  if (!setGroups.ok()) return setGroups;
  // They give what was set before; a wrong id, or one that is not allowed, changes nothing (setfsuid(2)).
  const auto set = [](long call, long id) {
    ::syscall(call, id);
    return ::syscall(call, -1) == id;
  };
  const long fsgid = REUSEPORT_ID(setfsgid);
  const long fsuid = REUSEPORT_ID(setfsuid);
  const bool isSet = isDown ? set(fsgid, identity.gid) && set(fsuid, identity.uid)
                            : set(fsuid, identity.uid) && set(fsgid, identity.gid);
  if (!isSet) return Failure{EPERM};
  return 0;
}

}  // namespace reuseport
