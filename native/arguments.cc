#include "arguments.h"

#include <cmath>

namespace reuseport {
namespace {

Napi::TypeError typeError(const Napi::Value& value, const char* name, const char* expected) {
  return Napi::TypeError::New(value.Env(), std::string(name) + " must be " + expected);
}

Napi::Array toArray(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) throw typeError(value, name, "an array");
  return value.As<Napi::Array>();
}

}  // namespace

int64_t toInteger(const Napi::Value& value, const char* name, int64_t min, int64_t max) {
  if (!value.IsNumber()) throw typeError(value, name, "a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  // NaN fails every comparison, so it is asked for what it must be, not for what it must not.
  const bool fits = number >= static_cast<double>(min) && number <= static_cast<double>(max) && std::trunc(number) == number;
  if (!fits) {
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must be an integer from " + std::to_string(min) + " to " +
                                                 std::to_string(max));
  }
  return static_cast<int64_t>(number);
}

int toDescriptor(const Napi::Value& value, const char* name) { return static_cast<int>(toInteger(value, name, 0, INT_MAX)); }

bool toBoolean(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) throw typeError(value, name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string toText(const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw typeError(value, name, "a string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) throw typeError(value, name, "a string without NUL characters");
  return text;
}

std::vector<int> toDescriptors(const Napi::Value& value, const char* name, std::size_t max) {
  const auto checkCount = [&](std::size_t count) {
    if (count <= max) return;
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must not have more than " + std::to_string(max) + " elements");
  };
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
    const auto array = value.As<Napi::Int32Array>();
    checkCount(array.ElementLength());
    std::vector<int> result(array.Data(), array.Data() + array.ElementLength());
    for (const int fd : result) {
      if (fd < 0) throw Napi::RangeError::New(value.Env(), std::string(name) + " must not have negative elements");
    }
    return result;
  }
  const Napi::Array array = toArray(value, name);
  checkCount(array.Length());
  std::vector<int> result;
  result.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) result.push_back(toDescriptor(array.Get(i), name));
  return result;
}

std::vector<std::string> toTexts(const Napi::Value& value, const char* name) {
  const Napi::Array array = toArray(value, name);
  std::vector<std::string> result;
  for (uint32_t i = 0; i < array.Length(); i++) result.push_back(toText(array.Get(i), name));
  return result;
}

Identity toIdentity(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) throw typeError(value, name, "an object");
  const auto object = value.As<Napi::Object>();
  // The largest number means "as it is" to these calls.
  const auto id = [](const Napi::Value& one, const char* what) { return static_cast<std::uint32_t>(toInteger(one, what, 0, UINT32_MAX - 1)); };
  Identity identity{id(object.Get("uid"), "uid"), id(object.Get("gid"), "gid"), {}};
  const Napi::Array groups = toArray(object.Get("groups"), "groups");
  if (groups.Length() > NGROUPS_MAX) throw Napi::RangeError::New(value.Env(), "groups has too many elements");
  for (uint32_t i = 0; i < groups.Length(); i++) identity.groups.push_back(id(groups.Get(i), "groups"));
  return identity;
}

Bytes toBytes(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw typeError(value, name, "a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

}  // namespace reuseport
