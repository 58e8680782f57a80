#include "core/steering.h"

#include <sys/socket.h>

#include <optional>

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

std::optional<Canary> toCanary(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "canary must be an object");
  const auto object = value.As<Napi::Object>();
  return Canary{static_cast<std::uint32_t>(toInteger(object.Get("index"), "index", 0, kMaxSteered - 1)),
                static_cast<std::uint32_t>(toInteger(object.Get("share"), "share", 0, kWholeShare)),
                toSteerBy(object.Get("by"))};
}

void attachSteering(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const std::vector<std::uint32_t> weights = toWeights(info[1]);
  const std::optional<Canary> canary = toCanary(info[3]);
  auto assembled = assembleSteering(weights.data(), weights.size(), toSteerBy(info[2]), canary.has_value() ? &*canary : nullptr);
  if (!assembled.ok()) {
    throw Napi::RangeError::New(info.Env(), "weights must have 1 to " + std::to_string(kMaxSteered) +
                                                " elements, not all of them 0, and the canary must be one of them");
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
