#include <fcntl.h>
#include <linux/mount.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "arguments.h"
#include "core/fd.h"
#include "errors.h"
#include "exports.h"

namespace reuseport {
namespace {

void enterPrivateNetwork(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  unwrap(env, attempt([] { return ::unshare(CLONE_NEWNET); }), "unshare");

  // A new network has a loopback interface and it is down. Any socket of the new network can carry the request.
  const Fd socket(unwrap(env, attempt([] { return ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); }), "socket"));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  unwrap(env, attempt([&] { return ::ioctl(socket.get(), SIOCSIFFLAGS, &request); }), "ioctl");
}

/** A sysfs that nobody else sees: it shows the network of the thread that opens it, and lives as long as its descriptor. */
Fd mountSysfs(Napi::Env env) {
  const Fd config(static_cast<int>(unwrap(env, attempt([] { return ::syscall(SYS_fsopen, "sysfs", FSOPEN_CLOEXEC); }), "fsopen")));
  unwrap(env, attempt([&] { return ::syscall(SYS_fsconfig, config.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0); }), "fsconfig");
  return Fd(static_cast<int>(unwrap(env, attempt([&] { return ::syscall(SYS_fsmount, config.get(), FSMOUNT_CLOEXEC, 0); }), "fsmount")));
}

void steerLoopback(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string processors = toText(info[0], "processors");
  const Fd sysfs = mountSysfs(env);
  constexpr char kQueue[] = "class/net/lo/queues/rx-0/rps_cpus";
  const Fd file(unwrap(env, attempt([&] { return ::openat(sysfs.get(), kQueue, O_WRONLY | O_CLOEXEC); }), "openat"));
  unwrap(env, attempt([&] { return ::write(file.get(), processors.data(), processors.size()); }), "write");
}

}  // namespace

void exportNetwork(Napi::Object exports) {
  define<enterPrivateNetwork>(exports, "enterPrivateNetwork");
  define<steerLoopback>(exports, "steerLoopback");
}

}  // namespace reuseport
