#include "spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdint>
#include <cstring>

// Same number on every architecture; Linux 5.9 (close_range) and 5.3 (pidfd_open), younger than some build hosts' headers.
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace reuseport {
namespace {

/** The kernel's set of signals, not libc's: libc hides its own two (32, 33) from sigfillset and sigprocmask. */
struct KernelSignalSet {
  unsigned long words[_NSIG / 8 / sizeof(unsigned long)];
};

struct ChildPlan {
  const char* file;
  char* const* argv;
  char* const* env;
  const char* cwd;
  /** Null: nobody else. */
  const Identity* identity;
  /** Become 0, 1, 2 … in this order. */
  const int* descriptors;
  int count;
  /** Where the child writes its pid, with room for its digits and a zero; null: nowhere. */
  char* pid;
  /** The child dies with it; 0: it does not. */
  pid_t parent;
  // Written by the child, read by the parent: they share memory until execve or _exit.
  volatile int error;
  const char* volatile syscall;
};

/** Code of the child: not instrumented, since it leaves its frames for ever, and does so on a stack that no sanitizer knows. */
#define IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

[[noreturn]] IN_CHILD void fail(ChildPlan* plan, const char* syscall) {
  plan->error = errno;
  plan->syscall = syscall;
  ::_exit(127);
}

/**
 * Closes every descriptor from `first` on that the child has inherited. The fallback is for kernels before 5.9: getdents64 into a buffer of
 * our own, since opendir allocates, and a loop up to the limit may be a thousand million closes in a container.
 */
IN_CHILD void closeInherited(int first) {
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0u, 0u) == 0) return;

  const int directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory == -1) return;
  alignas(8) char entries[4096];
  for (;;) {
    const long size = ::syscall(SYS_getdents64, directory, entries, sizeof entries);
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      // struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, char name[]
      std::uint16_t length;
      std::memcpy(&length, entries + at + 16, sizeof length);
      int fd = 0;
      for (const char* digit = entries + at + 19; *digit >= '0' && *digit <= '9'; digit++) fd = fd * 10 + (*digit - '0');
      if (fd >= first && fd != directory) ::close(fd);
      at += length;
    }
  }
  ::close(directory);
}

constexpr std::size_t kPidDigits = 12;  // of an int, and a zero

IN_CHILD void writePid(char* text) {
  char digits[kPidDigits];
  std::size_t count = 0;
  for (long pid = ::syscall(SYS_getpid); pid > 0; pid /= 10) digits[count++] = static_cast<char>('0' + pid % 10);
  for (std::size_t i = 0; i < count; i++) text[i] = digits[count - 1 - i];
  text[count] = '\0';
}

/**
 * Runs in the child on its own stack, but in the parent's memory: only system calls, no allocation, nothing that takes a lock that
 * another thread of the parent may hold.
 */
IN_CHILD int runChild(void* argument) {
  ChildPlan* plan = static_cast<ChildPlan*>(argument);

  // Handlers would become the default at execve anyhow; what was *ignored* would stay so (Node ignores SIGPIPE and SIGXFSZ). The
  // raw call, since sanitizers keep books about sigaction, which are the parent's books here. Zeroes: SIG_DFL.
  const char defaultAction[64] = {};
  for (int number = 1; number < _NSIG; number++) {
    ::syscall(SYS_rt_sigaction, number, defaultAction, nullptr, sizeof(KernelSignalSet));
  }

  if (::setsid() == -1) fail(plan, "setsid");
  // The sources are all above the targets (see below): no copy overwrites a source, and none is its own target, which would keep its
  // close-on-exec flag (dup2(2)).
  for (int target = 0; target < plan->count; target++) {
    if (::dup2(plan->descriptors[target], target) == -1) fail(plan, "dup2");
  }
  // The last thing that needs the rights of the parent was done before; whether the directory and the program may be used is the user's matter.
  if (plan->identity != nullptr) {
    const char* const failed = becomeForGood(*plan->identity);
    if (failed != nullptr) fail(plan, failed);
  }
  if (::chdir(plan->cwd) == -1) fail(plan, "chdir");
  closeInherited(plan->count);
  if (plan->pid != nullptr) writePid(plan->pid);
  // After the change of identity, which takes it away (prctl(2)). The parent may have ended before: then nothing would be sent any more.
  if (plan->parent != 0) {
    if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1) fail(plan, "prctl");
    if (::syscall(SYS_getppid) != plan->parent) ::_exit(127);
  }

  const KernelSignalSet none{};
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
  ::execve(plan->file, plan->argv, plan->env);
  fail(plan, "execve");
}

#undef IN_CHILD

/** `last`: one more, unless it is empty. */
std::vector<char*> pointers(const std::vector<std::string>& strings, const std::string& last = {}) {
  std::vector<char*> result;
  result.reserve(strings.size() + 2);
  for (const std::string& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  if (!last.empty()) result.push_back(const_cast<char*>(last.c_str()));
  result.push_back(nullptr);
  return result;
}

/** Memory for the child's stack, with a page below it that faults instead of running into something else. */
class Stack {
 public:
  static constexpr std::size_t kSize = 64 * 1024;
  static constexpr std::size_t kGuard = 64 * 1024;

  Stack() : base_(::mmap(nullptr, kSize + kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {
    if (base_ == MAP_FAILED || ::mprotect(bottom(), kSize, PROT_READ | PROT_WRITE) == -1) error_ = errno;
  }
  ~Stack() {
    if (base_ != MAP_FAILED) ::munmap(base_, kSize + kGuard);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  int error() const { return error_; }
  void* top() const { return bottom() + kSize; }

 private:
  char* bottom() const { return static_cast<char*>(base_) + kGuard; }
  void* base_;
  int error_ = 0;
};

}  // namespace

Spawned startProcess(const SpawnRequest& request, SpawnFailure& failure) {
  const auto fail = [&failure](int error, const char* syscall) {
    failure = {error, syscall};
    return Spawned{};
  };

  std::vector<int> given(request.stdio, request.stdio + 3);
  given.insert(given.end(), request.fds.begin(), request.fds.end());
  const int count = static_cast<int>(given.size());
  std::vector<Fd> copies;
  std::vector<int> descriptors;
  for (const int fd : given) {
    const auto copy = attempt([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, count); });
    if (!copy.ok()) return fail(copy.error(), "fcntl");
    copies.emplace_back(copy.value());
    descriptors.push_back(copy.value());
  }

  const std::vector<char*> argv = pointers(request.argv);
  std::string variable;
  char* pid = nullptr;
  if (!request.pidVariable.empty()) {
    variable = request.pidVariable + '=';
    const std::size_t at = variable.size();
    variable.append(kPidDigits, '\0');
    pid = variable.data() + at;
  }
  const std::vector<char*> env = pointers(request.env, variable);
  ChildPlan plan{request.file.c_str(), argv.data(), env.data(), request.cwd.c_str(), request.identity.has_value() ? &*request.identity : nullptr, descriptors.data(), count, pid, request.diesWithParent ? ::getpid() : 0, 0, nullptr};
  const Stack stack;
  if (stack.error() != 0) return fail(stack.error(), "mmap");

  const KeepDumpable keep;
  // From here until the child has its own image, a signal that met it would run the parent's handler in shared memory.
  // --- begin: all signals blocked in this thread ---
  KernelSignalSet all;
  KernelSignalSet before;
  std::memset(&all, 0xff, sizeof all);
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  // CLONE_VFORK: this thread sleeps until the child has called execve or _exit, so the plan, this frame and errno are the child's
  // alone meanwhile. The others go on: only memory is shared, descriptors and dispositions are copies.
  const pid_t child = ::clone(runChild, stack.top(), CLONE_VM | CLONE_VFORK | SIGCHLD, &plan);
  const int cloneError = errno;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
  // --- end ---
  if (child == -1) return fail(cloneError, "clone");

  const auto collect = [child] { (void)attempt([child] { return ::waitpid(child, nullptr, 0); }); };
  if (plan.error != 0) {
    collect();
    return fail(plan.error, plan.syscall);
  }

  // The pid cannot have been given to another process: it is ours to reap and nobody has (libuv waits for its own children only).
  const auto pidfd = attempt([child] { return static_cast<int>(::syscall(SYS_pidfd_open, child, 0)); });
  if (!pidfd.ok()) {
    // A worker that nobody can watch must not run.
    ::kill(child, SIGKILL);
    collect();
    return fail(pidfd.error(), "pidfd_open");
  }
  return Spawned{child, Fd(pidfd.value())};
}

}  // namespace reuseport
