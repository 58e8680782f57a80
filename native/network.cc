#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

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

}  // namespace

void exportNetwork(Napi::Object exports) { define<enterPrivateNetwork>(exports, "enterPrivateNetwork"); }

}  // namespace reuseport
