#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <csignal>

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

void closeAll(const Napi::CallbackInfo& info) {
  int first = 0;
  for (const int fd : toDescriptors(info[0], "fds", INT_MAX)) {
    if (::close(fd) != 0 && errno != EINTR && first == 0) first = errno;
  }
  if (first != 0) throw systemError(info.Env(), first, "close");
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

/** Whether this thread was interrupted by the terminal when it wrote from the background: not any more, for as long as this lives. */
class WithoutTerminalStop {
 public:
  WithoutTerminalStop() {
    sigset_t stop;
    ::sigemptyset(&stop);
    ::sigaddset(&stop, SIGTTOU);
    // Not pthread_sigmask, which glibc 2.32 has given a new version: in Linux this is of the calling thread as well.
    ::sigprocmask(SIG_BLOCK, &stop, &before_);
  }
  ~WithoutTerminalStop() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  WithoutTerminalStop(const WithoutTerminalStop&) = delete;
  WithoutTerminalStop& operator=(const WithoutTerminalStop&) = delete;

 private:
  sigset_t before_;
};

/** Each kind of file has its own way of not waiting; the flag O_NONBLOCK would be everybody's who has the file open. */
ssize_t writeWithoutWaiting(int fd, const Bytes& data) {
  const ssize_t sent = ::send(fd, data.data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != -1 || errno != ENOTSOCK) return sent;
  const iovec part{const_cast<std::uint8_t*>(data.data), data.length};
  const ssize_t written = ::pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
  if (written != -1 || (errno != EOPNOTSUPP && errno != ENOSYS)) return written;
  // A terminal, or a pipe before Linux 6.4. So many bytes a pipe takes whole or not at all (pipe(7)).
  pollfd watched{fd, POLLOUT, 0};
  const int ready = ::poll(&watched, 1, 0);
  if (ready == -1) return -1;
  if (ready == 0) {
    errno = EAGAIN;
    return -1;
  }
  return ::write(fd, data.data, std::min<std::size_t>(data.length, PIPE_BUF));
}

Napi::Value writeNow(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const Bytes data = toBytes(info[1], "data");
  const WithoutTerminalStop quiet;
  const auto written = attempt([&] { return writeWithoutWaiting(fd, data); });
  if (!written.ok() && (written.error() == EAGAIN || written.error() == EWOULDBLOCK)) return Napi::Number::New(info.Env(), 0);
  return Napi::Number::New(info.Env(), static_cast<double>(unwrap(info.Env(), written, "write")));
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
  define<closeAll>(exports, "closeAll");
  define<pipe>(exports, "pipe");
  define<setNonBlocking>(exports, "setNonBlocking");
  define<writeNow>(exports, "writeNow");
  define<tryLock>(exports, "tryLock");
  define<pollSync>(exports, "pollSync");
}

}  // namespace reuseport
