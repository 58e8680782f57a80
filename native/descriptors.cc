#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <chrono>
#include <climits>

#include "arguments.h"
#include "core/fd.h"
#include "core/result.h"
#include "errors.h"
#include "exports.h"

namespace reuseport {
namespace {

Napi::Value dup(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const int least = info[1].IsUndefined() ? 3 : toDescriptor(info[1], "least");
  const int copy = unwrap(info.Env(), attempt([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, std::max(least, 3)); }), "fcntl");
  return Napi::Number::New(info.Env(), copy);
}

void dup2(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const int target = toDescriptor(info[1], "target");
  unwrap(info.Env(), attempt([&] { return ::dup2(fd, target); }), "dup2");
  // dup2(2) does nothing when both are the same number, and leaves close-on-exec as it was.
  if (fd == target) unwrap(info.Env(), attempt([&] { return ::fcntl(target, F_SETFD, 0); }), "fcntl");
}

void close(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  if (::close(fd) == 0) return;
  const int error = errno;
  // Linux has released the number before it could be interrupted; a second close could hit somebody else's descriptor.
  if (error != EINTR) throw systemError(info.Env(), error, "close");
}

Napi::Value pipe(const Napi::CallbackInfo& info) {
  const bool nonBlocking = toBoolean(info[0], "nonBlocking");
  int ends[2];
  unwrap(info.Env(), attempt([&] { return ::pipe2(ends, O_CLOEXEC); }), "pipe2");
  Fd read(ends[0]);
  Fd write(ends[1]);
  if (nonBlocking) unwrap(info.Env(), attempt([&] { return ::fcntl(read.get(), F_SETFL, O_NONBLOCK); }), "fcntl");

  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, read.get());
  result.Set(1u, write.get());
  (void)read.release();
  (void)write.release();
  return result;
}

void setNonBlocking(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const bool wanted = toBoolean(info[1], "nonBlocking");
  const int flags = unwrap(info.Env(), attempt([&] { return ::fcntl(fd, F_GETFL); }), "fcntl");
  const int changed = wanted ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  unwrap(info.Env(), attempt([&] { return ::fcntl(fd, F_SETFL, changed); }), "fcntl");
}

Napi::Value tryLock(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const auto locked = attempt([&] { return ::flock(fd, LOCK_EX | LOCK_NB); });
  if (!locked.ok() && locked.error() != EWOULDBLOCK) throw systemError(info.Env(), locked.error(), "flock");
  return Napi::Boolean::New(info.Env(), locked.ok());
}

Napi::Value pollSync(const Napi::CallbackInfo& info) {
  using Clock = std::chrono::steady_clock;
  const int fd = toDescriptor(info[0]);
  const int wanted = static_cast<int>(toInteger(info[1], "events", 1, UV_READABLE | UV_WRITABLE));
  const auto timeout = std::chrono::milliseconds(toInteger(info[2], "timeoutMs", 0, INT_MAX));

  pollfd watched{fd, 0, 0};
  if (wanted & UV_READABLE) watched.events |= POLLIN;
  if (wanted & UV_WRITABLE) watched.events |= POLLOUT;

  const auto deadline = Clock::now() + timeout;
  for (;;) {
    // Rounded up: a poll that returned early by a fraction of a millisecond would be a time-out that was not one.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(std::max(deadline - Clock::now(), Clock::duration::zero()));
    const int count = ::poll(&watched, 1, static_cast<int>(std::min<int64_t>(left.count(), INT_MAX)));
    const int error = errno;
    if (count == -1 && error == EINTR) continue;
    if (count == -1) throw systemError(info.Env(), error, "poll");
    break;
  }
  if (watched.revents & POLLNVAL) throw systemError(info.Env(), EBADF, "poll");

  int ready = 0;
  if (watched.revents & POLLIN) ready |= UV_READABLE;
  if (watched.revents & POLLOUT) ready |= UV_WRITABLE;
  // An error or a hang-up makes every operation ready: it will not block, it will say what is wrong.
  if (watched.revents & (POLLERR | POLLHUP)) ready = wanted;
  return Napi::Number::New(info.Env(), ready);
}

}  // namespace

void exportDescriptors(Napi::Object exports) {
  define<dup>(exports, "dup");
  define<dup2>(exports, "dup2");
  define<close>(exports, "close");
  define<pipe>(exports, "pipe");
  define<setNonBlocking>(exports, "setNonBlocking");
  define<tryLock>(exports, "tryLock");
  define<pollSync>(exports, "pollSync");
}

}  // namespace reuseport
