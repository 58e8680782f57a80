#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>

#include "arguments.h"
#include "core/result.h"
#include "errors.h"
#include "exports.h"

namespace reuseport {
namespace {

using Moment = std::atomic<std::uint64_t>;
static_assert(sizeof(Moment) == sizeof(std::uint64_t) && Moment::is_always_lock_free);

/**
 * A timer of the event loop that writes the time into memory which another process reads. It runs no JavaScript and makes no system call: what
 * it costs an idle process is that it wakes up. The file is mapped, not written to by its descriptor: a program that closes a descriptor
 * which is not its own, and opens another file, would find the time in that. Lifetimes: as those of a Poller.
 */
class Pulse : public Napi::ObjectWrap<Pulse> {
 public:
  static Napi::Function define(Napi::Env env) { return DefineClass(env, "Pulse", {InstanceMethod<&Pulse::stop>("stop")}); }

  explicit Pulse(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Pulse>(info) {
    const Napi::Env env = info.Env();
    const int fd = toDescriptor(info[0]);
    const auto everyMs = static_cast<std::uint64_t>(toInteger(info[1], "everyMs", 1, INT_MAX));
    uv_loop_t* loop;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "this environment has no event loop");

    // Beyond the end of a file there is memory, and SIGBUS for whoever touches it. By its offset, which nobody uses: fstat is a symbol that
    // glibc has only since 2.33.
    const off_t size = ::lseek(fd, 0, SEEK_END);
    if (size == -1) throw systemError(env, errno, "lseek");
    if (size < static_cast<off_t>(sizeof(Moment))) throw systemError(env, EINVAL, "mmap");
    void* memory = ::mmap(nullptr, sizeof(Moment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) throw systemError(env, errno, "mmap");
    last_ = static_cast<Moment*>(memory);

    handle_ = new uv_timer_t;
    uv_timer_init(loop, handle_);
    handle_->data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(handle_));
    napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
    uv_timer_start(handle_, onTurn, 0, everyMs);
    Ref();
  }

  ~Pulse() override { end(); }

 private:
  void stop(const Napi::CallbackInfo&) {
    if (handle_ == nullptr) return;
    end();
    Unref();
  }

  void end() {
    if (handle_ == nullptr) return;
    napi_remove_env_cleanup_hook(Env(), onEnvironmentEnd, this);
    uv_timer_stop(handle_);
    uv_close(reinterpret_cast<uv_handle_t*>(handle_), [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
    handle_ = nullptr;
    ::munmap(last_, sizeof(Moment));
  }

  static void onEnvironmentEnd(void* data) { static_cast<Pulse*>(data)->end(); }

  static void onTurn(uv_timer_t* handle) {
    static_cast<Pulse*>(handle->data)->last_->store(uv_hrtime(), std::memory_order_relaxed);
  }

  uv_timer_t* handle_ = nullptr;
  Moment* last_ = nullptr;
};

}  // namespace

void exportPulse(Napi::Object exports) { exports.Set("Pulse", Pulse::define(exports.Env())); }

}  // namespace reuseport
