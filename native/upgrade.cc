#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arguments.h"
#include "core/exec.h"
#include "core/shield.h"
#include "errors.h"
#include "exports.h"

#ifndef SYS_memfd_create
#error "the system's headers are older than Linux 3.17"
#endif
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1u
#endif

// Of the preloaded object (native/shield.c), if it is there.
extern "C" void reuseport_shield_lower() __attribute__((weak));

namespace reuseport {
namespace {

/** Far more than a launcher has sockets. */
constexpr std::size_t kMostFds = 1u << 20;

Napi::Value memoryFile(const Napi::CallbackInfo& info) {
  const std::string name = toText(info[0], "name");
  // Not glibc's function, which is younger than some systems that Node runs on (2.27; musl has it).
  const auto made = attempt([&] { return static_cast<int>(::syscall(SYS_memfd_create, name.c_str(), MFD_CLOEXEC)); });
  return Napi::Number::New(info.Env(), unwrap(info.Env(), made, "memfd_create"));
}

void closeOnExec(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const int flags = unwrap(info.Env(), attempt([&] { return ::fcntl(fd, F_GETFD); }), "fcntl");
  unwrap(info.Env(), attempt([&] { return ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC); }), "fcntl");
}

void raise(const Napi::CallbackInfo&) { raiseShield(); }

Napi::Value lower(const Napi::CallbackInfo& info) {
  const bool isPreloaded = reuseport_shield_lower != nullptr;
  if (isPreloaded) reuseport_shield_lower();
  lowerShield();
  return Napi::Boolean::New(info.Env(), isPreloaded);
}

void replace(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) throw Napi::TypeError::New(env, "options must be an object");
  const auto options = info[0].As<Napi::Object>();
  const ExecRequest request{toText(options.Get("file"), "file"), toTexts(options.Get("argv"), "argv"),
                            toTexts(options.Get("env"), "env"), toDescriptors(options.Get("fds"), "fds", kMostFds)};
  const ExecFailure failure = replaceProcess(request);
  throw systemError(env, failure.error, failure.syscall);
}

}  // namespace

void exportUpgrade(Napi::Object exports) {
  define<memoryFile>(exports, "memoryFile");
  define<closeOnExec>(exports, "closeOnExec");
  define<raise>(exports, "raiseShield");
  define<lower>(exports, "lowerShield");
  define<replace>(exports, "replaceProcess");
}

}  // namespace reuseport
