#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <climits>
#include <cstdint>

#include "arguments.h"
#include "core/address.h"
#include "core/fd.h"
#include "core/tcp_info.h"
#include "errors.h"
#include "exports.h"

namespace reuseport {
namespace {

struct Named {
  const char* name;
  int value;
};

template <std::size_t size>
int oneOf(const Napi::Value& value, const char* what, const Named (&table)[size]) {
  const std::string name = toText(value, what);
  std::string known;
  for (const Named& row : table) {
    if (name == row.name) return row.value;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Napi::TypeError::New(value.Env(), std::string(what) + " must be one of " + known);
}

constexpr Named kFamilies[] = {{"inet", AF_INET}, {"inet6", AF_INET6}, {"unix", AF_UNIX}};
constexpr Named kTypes[] = {{"stream", SOCK_STREAM}, {"seqpacket", SOCK_SEQPACKET}, {"datagram", SOCK_DGRAM}};

constexpr struct Option {
  const char* name;
  int level;
  int option;
} kOptions[] = {
    {"reuseAddress", SOL_SOCKET, SO_REUSEADDR}, {"reusePort", SOL_SOCKET, SO_REUSEPORT},
    {"ipv6Only", IPPROTO_IPV6, IPV6_V6ONLY},    {"sendBuffer", SOL_SOCKET, SO_SNDBUF},
    {"type", SOL_SOCKET, SO_TYPE},              {"acceptConnections", SOL_SOCKET, SO_ACCEPTCONN},
    {"domain", SOL_SOCKET, SO_DOMAIN},          {"passCredentials", SOL_SOCKET, SO_PASSCRED},
};

const Option& toOption(const Napi::Value& value) {
  const std::string name = toText(value, "option");
  for (const Option& option : kOptions) {
    if (name == option.name) return option;
  }
  throw Napi::TypeError::New(value.Env(), "option is unknown: " + name);
}

Napi::Value socket(const Napi::CallbackInfo& info) {
  const int family = oneOf(info[0], "family", kFamilies);
  const int type = oneOf(info[1], "type", kTypes);
  const int fd = unwrap(info.Env(), attempt([&] { return ::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }), "socket");
  return Napi::Number::New(info.Env(), fd);
}

void bindTo(Napi::Env env, int fd, Result<SocketAddress> address) {
  const SocketAddress to = unwrap(env, std::move(address), "bind");
  unwrap(env, attempt([&] { return ::bind(fd, to.get(), to.length); }), "bind");
}

void bindInet(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const std::string host = toText(info[1], "host");
  bindTo(info.Env(), fd, inetAddress(host, static_cast<std::uint16_t>(toInteger(info[2], "port", 0, 65535))));
}

void bindUnix(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  bindTo(info.Env(), fd, unixAddress(toText(info[1], "path")));
}

void connectInet(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const std::string host = toText(info[1], "host");
  const SocketAddress to =
      unwrap(info.Env(), inetAddress(host, static_cast<std::uint16_t>(toInteger(info[2], "port", 1, 65535))), "connect");
  const auto connected = attempt([&] { return ::connect(fd, to.get(), to.length); });
  if (connected.error() != EINPROGRESS) unwrap(info.Env(), connected, "connect");
}

void connectUnix(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const SocketAddress to = unwrap(info.Env(), unixAddress(toText(info[1], "path")), "connect");
  unwrap(info.Env(), attempt([&] { return ::connect(fd, to.get(), to.length); }), "connect");
}

void listen(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const int backlog = static_cast<int>(toInteger(info[1], "backlog", 0, INT_MAX));
  unwrap(info.Env(), attempt([&] { return ::listen(fd, backlog); }), "listen");
}

Napi::Value accept(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  for (;;) {
    const auto accepted = attempt([&] { return ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); });
    if (accepted.ok()) return Napi::Number::New(info.Env(), accepted.value());
    if (accepted.error() == EAGAIN) return info.Env().Null();
    // The client went away while it waited in the queue: the next one may be fine.
    if (accepted.error() != ECONNABORTED) throw systemError(info.Env(), accepted.error(), "accept");
  }
}

void setOption(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const Option& option = toOption(info[1]);
  const int value = static_cast<int>(toInteger(info[2], "value", INT_MIN, INT_MAX));
  unwrap(info.Env(), attempt([&] { return ::setsockopt(fd, option.level, option.option, &value, sizeof value); }), "setsockopt");
}

Napi::Value getOption(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  const Option& option = toOption(info[1]);
  int value = 0;
  socklen_t size = sizeof value;
  unwrap(info.Env(), attempt([&] { return ::getsockopt(fd, option.level, option.option, &value, &size); }), "getsockopt");
  return Napi::Number::New(info.Env(), value);
}

Napi::Value addressOf(const Napi::CallbackInfo& info, int (*ask)(int, sockaddr*, socklen_t*), const char* syscall) {
  const int fd = toDescriptor(info[0]);
  SocketAddress address;
  address.length = sizeof address.storage;
  unwrap(info.Env(),
         attempt([&] { return ask(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length); }), syscall);
  const AddressText described = unwrap(info.Env(), describeAddress(address), syscall);

  Napi::Object result = Napi::Object::New(info.Env());
  if (described.family == AF_UNIX) {
    result.Set("path", described.text);
    return result;
  }
  result.Set("family", described.family == AF_INET ? 4 : 6);
  result.Set("host", described.text);
  result.Set("port", static_cast<int>(described.port));
  return result;
}

Napi::Value localAddress(const Napi::CallbackInfo& info) { return addressOf(info, ::getsockname, "getsockname"); }

Napi::Value peerAddress(const Napi::CallbackInfo& info) { return addressOf(info, ::getpeername, "getpeername"); }

Napi::Value receiveQueue(const Napi::CallbackInfo& info) {
  std::uint32_t memory[SK_MEMINFO_VARS] = {};
  socklen_t size = sizeof memory;
  const int fd = toDescriptor(info[0]);
  unwrap(info.Env(), attempt([&] { return ::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size); }), "getsockopt");
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("bytes", memory[SK_MEMINFO_RMEM_ALLOC]);
  result.Set("dropped", memory[SK_MEMINFO_DROPS]);
  return result;
}

Napi::Value acceptQueue(const Napi::CallbackInfo& info) {
  const AcceptQueue queue = unwrap(info.Env(), acceptQueueOf(toDescriptor(info[0])), "getsockopt");
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("length", queue.length);
  result.Set("limit", queue.limit);
  return result;
}

}  // namespace

void exportSockets(Napi::Object exports) {
  define<socket>(exports, "socket");
  define<bindInet>(exports, "bindInet");
  define<bindUnix>(exports, "bindUnix");
  define<connectInet>(exports, "connectInet");
  define<connectUnix>(exports, "connectUnix");
  define<listen>(exports, "listen");
  define<accept>(exports, "accept");
  define<setOption>(exports, "setOption");
  define<getOption>(exports, "getOption");
  define<localAddress>(exports, "localAddress");
  define<peerAddress>(exports, "peerAddress");
  define<acceptQueue>(exports, "acceptQueue");
  define<receiveQueue>(exports, "receiveQueue");
}

}  // namespace reuseport
