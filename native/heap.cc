#include "exports.h"

/**
 * Two things that Node-API does not have. They are called so, and exported by node, since Node 0.12. In a Node that has them not any more
 * they are null, and nothing is reclaimed.
 */
namespace v8 {
class Isolate {
 public:
  __attribute__((weak, visibility("default"))) static Isolate* GetCurrent();
  __attribute__((weak, visibility("default"))) void LowMemoryNotification();
};
class V8 {
 public:
  __attribute__((weak, visibility("default"))) static void SetFlagsFromString(const char* flags);
};
}  // namespace v8

namespace reuseport {
namespace {

Napi::Value reclaim(const Napi::CallbackInfo& info) {
  auto current = &v8::Isolate::GetCurrent;
  auto notify = &v8::Isolate::LowMemoryNotification;
  auto setFlags = &v8::V8::SetFlagsFromString;
  const bool can = current != nullptr && notify != nullptr && setFlags != nullptr;
  if (can) {
    setFlags("--no-incremental-marking");
    (current()->*notify)();
  }
  return Napi::Boolean::New(info.Env(), can);
}

}  // namespace

void exportHeap(Napi::Object exports) { define<reclaim>(exports, "reclaim"); }

}  // namespace reuseport
