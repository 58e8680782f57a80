#pragma once

#include <napi.h>

#include <utility>

#include "core/result.h"

namespace reuseport {

/** What a failed system call is in JavaScript: { code: "EADDRINUSE", errno: -98, syscall: "bind" }, the shape of Node's own. */
Napi::Error systemError(Napi::Env env, int error, const char* syscall);

/** The value, or a throw of what came instead. */
template <typename T>
T unwrap(Napi::Env env, Result<T> result, const char* syscall) {
  if (!result.ok()) throw systemError(env, result.error(), syscall);
  return std::move(result).value();
}

}  // namespace reuseport
