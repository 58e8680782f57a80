#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>

#include "arguments.h"
#include "core/signals.h"
#include "core/spawn.h"
#include "errors.h"
#include "exports.h"

// The same on every architecture; Linux 5.3, 5.1 and 5.4, younger than some build hosts' headers.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

namespace reuseport {
namespace {

/** Sockets of one program: far more than anybody lists on a command line. */
constexpr std::size_t kMostFds = 1024;

constexpr auto kPidfd = static_cast<idtype_t>(3);  // P_PIDFD: glibc 2.36 has it, musl and older ones do not

Napi::Value spawn(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) throw Napi::TypeError::New(env, "options must be an object");
  const auto options = info[0].As<Napi::Object>();
  SpawnRequest request{toText(options.Get("file"), "file"),
                       toTexts(options.Get("argv"), "argv"),
                       toTexts(options.Get("env"), "env"),
                       toText(options.Get("cwd"), "cwd"),
                       {},
                       options.Has("fds") ? toDescriptors(options.Get("fds"), "fds", kMostFds) : std::vector<int>{},
                       options.Has("pidVariable") ? toText(options.Get("pidVariable"), "pidVariable") : std::string{},
                       options.Has("identity") ? std::optional(toIdentity(options.Get("identity"), "identity")) : std::nullopt,
                       options.Has("diesWithParent")};
  const std::vector<int> stdio = toDescriptors(options.Get("stdio"), "stdio", 3);
  if (stdio.size() != 3) throw Napi::RangeError::New(env, "stdio must have 3 elements");
  for (std::size_t i = 0; i < 3; i++) request.stdio[i] = stdio[i];

  SpawnFailure failure;
  Spawned child = startProcess(request, failure);
  if (failure.error != 0) throw systemError(env, failure.error, failure.syscall);

  Napi::Object result = Napi::Object::New(env);
  result.Set("pid", child.pid);
  result.Set("pidfd", child.pidfd.get());
  (void)child.pidfd.release();
  return result;
}

Napi::Value pidfdOpen(const Napi::CallbackInfo& info) {
  const int pid = static_cast<int>(toInteger(info[0], "pid", 1, INT_MAX));
  const int pidfd = unwrap(info.Env(), attempt([&] { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }), "pidfd_open");
  return Napi::Number::New(info.Env(), pidfd);
}

/** True when it was sent, false when nobody is there any more. */
Napi::Value delivered(Napi::Env env, const Result<int>& sent, const char* syscall) {
  if (sent.error() == ESRCH) return Napi::Boolean::New(env, false);
  unwrap(env, sent, syscall);
  return Napi::Boolean::New(env, true);
}

Napi::Value pidfdSignal(const Napi::CallbackInfo& info) {
  const int pidfd = toDescriptor(info[0], "pidfd");
  const int signal = static_cast<int>(toInteger(info[1], "signal", 0, _NSIG - 1));
  const auto sent = attempt([&] { return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0)); });
  return delivered(info.Env(), sent, "pidfd_send_signal");
}

Napi::Value signalGroup(const Napi::CallbackInfo& info) {
  // Not 0 and not 1: kill(0) is our own group and kill(-1) is every process there is.
  const int group = static_cast<int>(toInteger(info[0], "pgid", 2, INT_MAX));
  const int signal = static_cast<int>(toInteger(info[1], "signal", 0, _NSIG - 1));
  return delivered(info.Env(), attempt([&] { return ::kill(-group, signal); }), "kill");
}

Napi::Value pidfdWait(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int pidfd = toDescriptor(info[0], "pidfd");
  siginfo_t child{};
  unwrap(env, attempt([&] { return ::waitid(kPidfd, static_cast<id_t>(pidfd), &child, WEXITED | WNOHANG); }), "waitid");
  if (child.si_pid == 0) return env.Null();

  const bool exited = child.si_code == CLD_EXITED;
  Napi::Object result = Napi::Object::New(env);
  result.Set("code", exited ? Napi::Value(Napi::Number::New(env, child.si_status)) : env.Null());
  result.Set("signal", exited ? env.Null() : Napi::Value(Napi::String::New(env, signalName(child.si_status))));
  return result;
}

void setChildSubreaper(const Napi::CallbackInfo& info) {
  unwrap(info.Env(), attempt([] { return ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }), "prctl");
}

Napi::Value peekExited(const Napi::CallbackInfo& info) {
  siginfo_t child{};
  const auto peeked = attempt([&] { return ::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT); });
  // ECHILD: no child at all.
  if (peeked.error() != ECHILD) unwrap(info.Env(), peeked, "waitid");
  return Napi::Number::New(info.Env(), child.si_pid);
}

Napi::Value reap(const Napi::CallbackInfo& info) {
  // Not 0 and not negative: waitpid would take any child, libuv's too.
  const pid_t pid = static_cast<pid_t>(toInteger(info[0], "pid", 1, INT_MAX));
  const auto reaped = attempt([&] { return ::waitpid(pid, nullptr, WNOHANG); });
  if (reaped.error() == ECHILD) return Napi::Boolean::New(info.Env(), false);
  return Napi::Boolean::New(info.Env(), unwrap(info.Env(), reaped, "waitpid") == pid);
}

}  // namespace

void exportProcess(Napi::Object exports) {
  define<spawn>(exports, "spawn");
  define<pidfdOpen>(exports, "pidfdOpen");
  define<pidfdSignal>(exports, "pidfdSignal");
  define<pidfdWait>(exports, "pidfdWait");
  define<signalGroup>(exports, "signalGroup");
  define<setChildSubreaper>(exports, "setChildSubreaper");
  define<peekExited>(exports, "peekExited");
  define<reap>(exports, "reap");
}

}  // namespace reuseport
