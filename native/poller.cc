#include <fcntl.h>
#include <uv.h>

#include "arguments.h"
#include "errors.h"
#include "exports.h"

namespace reuseport {
namespace {

/**
 * uv_poll on the event loop of the environment that made it.
 *
 * Three lifetimes meet here. The uv_poll_t belongs to libuv from uv_close to its close callback, which frees it and touches nothing
 * else. This object belongs to the garbage collector; while it watches, a reference of its own keeps it, as Node keeps its own
 * handles. And the environment may end first, by worker.terminate() or process.exit(): a cleanup hook closes then.
 */
class Poller : public Napi::ObjectWrap<Poller> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Poller",
                       {InstanceMethod<&Poller::start>("start"), InstanceMethod<&Poller::ref>("ref"),
                        InstanceMethod<&Poller::unref>("unref"), InstanceMethod<&Poller::close>("close")});
  }

  explicit Poller(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Poller>(info) {
    const Napi::Env env = info.Env();
    fd_ = toDescriptor(info[0]);
    if (!info[1].IsFunction()) throw Napi::TypeError::New(env, "onEvents must be a function");
    onEvents_ = Napi::Persistent(info[1].As<Napi::Function>());

    uv_loop_t* loop;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "this environment has no event loop");
    auto handle = new uv_poll_t;
    // Also sets O_NONBLOCK, on the open file description: every holder of the descriptor sees that.
    if (const int status = uv_poll_init(loop, handle, fd_); status < 0) {
      delete handle;
      throw systemError(env, -status, "uv_poll_init");
    }
    handle_ = handle;
    handle_->data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(handle_));
    napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
  }

  ~Poller() override { stopAndClose(); }

 private:
  void start(const Napi::CallbackInfo& info) {
    const auto events = static_cast<int>(toInteger(info[0], "events", 0, UV_READABLE | UV_WRITABLE));
    if (handle_ == nullptr) throw Napi::Error::New(info.Env(), "the poller is closed");
    // libuv asks epoll only later, in the loop, and aborts the process if the descriptor is not open by then.
    if (events != 0) unwrap(info.Env(), attempt([this] { return ::fcntl(fd_, F_GETFD); }), "fcntl");
    const int status = events == 0 ? uv_poll_stop(handle_) : uv_poll_start(handle_, events, onPoll);
    if (status < 0) throw systemError(info.Env(), -status, "uv_poll_start");
    watch(events);
  }

  void ref(const Napi::CallbackInfo&) {
    if (handle_ != nullptr) uv_ref(reinterpret_cast<uv_handle_t*>(handle_));
  }

  void unref(const Napi::CallbackInfo&) {
    if (handle_ != nullptr) uv_unref(reinterpret_cast<uv_handle_t*>(handle_));
  }

  void close(const Napi::CallbackInfo&) {
    stopAndClose();
    watch(0);
  }

  /** Watching keeps this object alive: somebody waits for the callback even if nobody holds the Poller. */
  void watch(int events) {
    if ((events_ == 0) != (events == 0)) events == 0 ? (void)Unref() : (void)Ref();
    events_ = events;
  }

  void stopAndClose() {
    if (handle_ == nullptr) return;
    napi_remove_env_cleanup_hook(Env(), onEnvironmentEnd, this);
    handle_->data = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(handle_), [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    handle_ = nullptr;
  }

  static void onEnvironmentEnd(void* data) { static_cast<Poller*>(data)->stopAndClose(); }

  static void onPoll(uv_poll_t* handle, int status, int events) {
    auto poller = static_cast<Poller*>(handle->data);
    if (poller == nullptr) return;
    if (status < 0) {
      // On EPOLLERR libuv stops the handle and says EBADF, whatever the error is; a peer that closed with unread packets is one, and
      // its own last packets are still to be received. So go on watching, and let the next call on the descriptor say what is wrong.
      events = poller->events_;
      uv_poll_start(handle, poller->events_, onPoll);
    }
    poller->report(events);
  }

  /**
   * Plain Node-API, not Napi::Function: every status of an environment that is ending must be ignored, and nothing may be thrown
   * through libuv's frames. No async context: this is nobody's asynchronous operation, the program's AsyncLocalStorage stays out.
   */
  void report(int events) {
    const napi_env env = Env();
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    napi_value argument;
    if (napi_create_int32(env, events, &argument) == napi_ok) {
      const napi_value callback = onEvents_.Value();
      if (napi_make_callback(env, nullptr, Value(), callback, 1, &argument, nullptr) == napi_pending_exception) {
        napi_value error;
        // An exception in the callback is an uncaughtException, as in every other callback of an event loop.
        if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
      }
    }
    napi_close_handle_scope(env, scope);
  }

  int fd_ = -1;
  Napi::FunctionReference onEvents_;
  uv_poll_t* handle_ = nullptr;
  int events_ = 0;
};

}  // namespace

void exportPoller(Napi::Object exports) { exports.Set("Poller", Poller::define(exports.Env())); }

}  // namespace reuseport
