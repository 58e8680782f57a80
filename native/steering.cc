#include "core/steering.h"

#include <sys/socket.h>

#include "arguments.h"
#include "errors.h"
#include "exports.h"

namespace reuseport {
namespace {

SteerBy toSteerBy(const Napi::Value& value) {
  const std::string name = toText(value, "by");
  if (name == "random") return SteerBy::random;
  if (name == "client") return SteerBy::client;
  if (name == "cpu") return SteerBy::cpu;
  throw Napi::TypeError::New(value.Env(), "by must be random, client or cpu");
}

std::vector<std::uint32_t> toWeights(const Napi::Value& value) {
  if (!value.IsArray()) throw Napi::TypeError::New(value.Env(), "weights must be an array");
  const auto array = value.As<Napi::Array>();
  std::vector<std::uint32_t> weights;
  for (uint32_t i = 0; i < array.Length() && i <= kMaxSteered; i++) {
    weights.push_back(static_cast<std::uint32_t>(toInteger(array.Get(i), "a weight", 0, kMaxWeight)));
  }
  return weights;
}

void attachSteering(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const std::vector<std::uint32_t> weights = toWeights(info[1]);
  auto assembled = assembleSteering(weights.data(), weights.size(), toSteerBy(info[2]));
  if (!assembled.ok()) {
    throw Napi::RangeError::New(info.Env(), "weights must have 1 to " + std::to_string(kMaxSteered) + " elements, not all of them 0");
  }
  std::vector<sock_filter>& code = assembled.value();
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  unwrap(info.Env(), attempt([&] {
           return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
         }),
         "setsockopt");
}

void detachSteering(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const int unused = 0;
  const auto detached = attempt([&] { return ::setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof unused); });
  // ENOENT: no program was attached (kernel.md §3).
  if (detached.error() != ENOENT) unwrap(info.Env(), detached, "setsockopt");
}

}  // namespace

void exportSteering(Napi::Object exports) {
  define<attachSteering>(exports, "attachSteering");
  define<detachSteering>(exports, "detachSteering");
}

}  // namespace reuseport
