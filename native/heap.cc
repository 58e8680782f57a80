#include "exports.h"

#include <malloc.h>

/**
 * What Node-API does not have. It is called so, and exported by node, since Node 0.12. In a Node that has it not any more it is null, and
 * nothing is reclaimed.
 */
namespace v8 {
class Isolate {
 public:
  __attribute__((weak, visibility("default"))) static Isolate* GetCurrent();
  __attribute__((weak, visibility("default"))) void LowMemoryNotification();
};
}  // namespace v8

namespace reuseport {
namespace {

Napi::Value reclaim(const Napi::CallbackInfo& info) {
  auto current = &v8::Isolate::GetCurrent;
  auto notify = &v8::Isolate::LowMemoryNotification;
  const bool can = current != nullptr && notify != nullptr;
  if (can) (current()->*notify)();
#ifdef __GLIBC__
  // What V8 took to read our code lies below what is still in use.
  malloc_trim(0);
#endif
  return Napi::Boolean::New(info.Env(), can);
}

}  // namespace

void exportHeap(Napi::Object exports) { define<reclaim>(exports, "reclaim"); }

}  // namespace reuseport
