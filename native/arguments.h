#pragma once

#include <napi.h>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/identity.h"

// What JavaScript passed, checked: TypeError for the wrong type, RangeError for a number outside its range. `name` is for the message.

namespace reuseport {

int64_t toInteger(const Napi::Value& value, const char* name, int64_t min, int64_t max);
int toDescriptor(const Napi::Value& value, const char* name = "fd");
bool toBoolean(const Napi::Value& value, const char* name);
/** Without NUL characters: the kernel would take what stands before them for the whole. */
std::string toText(const Napi::Value& value, const char* name);
/** An array, or an Int32Array: at once, not one by one. */
std::vector<int> toDescriptors(const Napi::Value& value, const char* name, std::size_t max);
std::vector<std::string> toTexts(const Napi::Value& value, const char* name);

/** { uid, gid, groups } */
Identity toIdentity(const Napi::Value& value, const char* name);

/** Bytes of a Uint8Array, borrowed for the length of the call: no JavaScript may run while they are used. */
struct Bytes {
  const std::uint8_t* data;
  std::size_t length;
};
Bytes toBytes(const Napi::Value& value, const char* name);

}  // namespace reuseport
