#include "core/identity.h"

#include <climits>

#include "arguments.h"
#include "errors.h"
#include "exports.h"

namespace reuseport {
namespace {

Napi::Value toJs(Napi::Env env, const std::optional<User>& user) {
  if (!user.has_value()) return env.Null();
  Napi::Object result = Napi::Object::New(env);
  result.Set("name", user->name);
  result.Set("uid", user->uid);
  result.Set("gid", user->gid);
  result.Set("home", user->home);
  result.Set("shell", user->shell);
  Napi::Array groups = Napi::Array::New(env, user->groups.size());
  for (std::size_t i = 0; i < user->groups.size(); i++) groups.Set(static_cast<std::uint32_t>(i), user->groups[i]);
  result.Set("groups", groups);
  return result;
}

Napi::Value userEntry(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info[0].IsNumber()) {
    const auto uid = static_cast<uid_t>(toInteger(info[0], "uid", 0, UINT_MAX - 1));
    return toJs(env, unwrap(env, findUser(uid), "getpwuid_r"));
  }
  return toJs(env, unwrap(env, findUser(toText(info[0], "name")), "getpwnam_r"));
}

Napi::Value groupId(const Napi::CallbackInfo& info) {
  const auto gid = unwrap(info.Env(), findGroup(toText(info[0], "name")), "getgrnam_r");
  return gid.has_value() ? Napi::Value(Napi::Number::New(info.Env(), *gid)) : info.Env().Null();
}

void filesAs(const Napi::CallbackInfo& info) {
  unwrap(info.Env(), useFilesAs(toIdentity(info[0], "identity")), "setfsuid");
}

}  // namespace

void exportIdentity(Napi::Object exports) {
  define<userEntry>(exports, "findUser");
  define<groupId>(exports, "findGroup");
  define<filesAs>(exports, "useFilesAs");
}

}  // namespace reuseport
