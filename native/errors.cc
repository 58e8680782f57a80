#include "errors.h"

#include <uv.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace reuseport {
namespace {

/** uv_err_name, and the names that libuv lacks but our calls can give. */
std::string errorName(int error) {
  switch (error) {
    case ECHILD:
      return "ECHILD";
    case ELIBBAD:
      return "ELIBBAD";
    case ENOEXEC:
      return "ENOEXEC";
    case ETOOMANYREFS:
      return "ETOOMANYREFS";
    case EUSERS:
      return "EUSERS";
    default:
      break;
  }
  char name[64];
  return uv_err_name_r(-error, name, sizeof name);
}

}  // namespace

Napi::Error systemError(Napi::Env env, int error, const char* syscall) {
  const std::string code = errorName(error);
  Napi::Error result = Napi::Error::New(env, std::string(syscall) + " " + code + ": " + std::generic_category().message(error));
  result.Set("code", Napi::String::New(env, code));
  result.Set("errno", Napi::Number::New(env, -error));
  result.Set("syscall", Napi::String::New(env, syscall));
  return result;
}

}  // namespace reuseport
