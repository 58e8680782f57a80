#include <sys/socket.h>

#include <cstdint>
#include <memory>

#include "arguments.h"
#include "core/address.h"
#include "core/fd.h"
#include "core/message.h"
#include "errors.h"
#include "exports.h"

// Linux 6.5; not in the headers of older systems.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace reuseport {
namespace {

/** Largest packet a caller may make room for; the launcher and its workers stay far below (MAX_MESSAGE_BYTES in src/protocol.ts). */
constexpr int64_t kMaxPacket = 16 * 1024 * 1024;

Napi::Object describe(Napi::Env env, const ucred& peer) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("pid", peer.pid);
  result.Set("uid", peer.uid);
  result.Set("gid", peer.gid);
  return result;
}

Napi::Value socketPair(const Napi::CallbackInfo& info) {
  int ends[2];
  unwrap(info.Env(), attempt([&] { return ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends); }),
         "socketpair");
  Fd left(ends[0]);
  Fd right(ends[1]);
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(0u, left.get());
  result.Set(1u, right.get());
  (void)left.release();
  (void)right.release();
  return result;
}

/** False when it must be tried again: nothing was sent, for want of room, of descriptors in flight, or of memory (ENOBUFS: sock_alloc_send_pskb). */
Napi::Value taken(Napi::Env env, const Result<Done>& sent) {
  const int error = sent.error();
  if (error == EAGAIN || error == ETOOMANYREFS || error == ENOBUFS || error == ENOMEM) return Napi::Boolean::New(env, false);
  unwrap(env, sent, "sendmsg");
  return Napi::Boolean::New(env, true);
}

Napi::Value sendMessage(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  // The descriptors first: reading an array can run JavaScript, the bytes must not be held across it.
  const std::vector<int> descriptors = toDescriptors(info[2], "fds", kMaxDescriptors);
  const Bytes data = toBytes(info[1], "data");
  if (data.length == 0) throw Napi::RangeError::New(info.Env(), "data must not be empty: it would look like the end of the channel");
  return taken(info.Env(), sendPacket(fd, data.data, data.length, descriptors.data(), descriptors.size()));
}

Napi::Value receiveMessage(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = toDescriptor(info[0]);
  const auto capacity = static_cast<std::size_t>(toInteger(info[1], "maxBytes", 1, kMaxPacket));
  // Not std::vector: it would write zeroes over bytes that the kernel is about to write.
  const std::unique_ptr<std::uint8_t[]> buffer(new std::uint8_t[capacity]);

  auto result = receivePacket(fd, buffer.get(), capacity);
  if (result.error() == EAGAIN) return env.Null();
  Received received = unwrap(env, std::move(result), "recvmsg");

  Napi::Int32Array fds = Napi::Int32Array::New(env, received.descriptors.size());
  for (std::size_t i = 0; i < received.descriptors.size(); i++) fds[i] = received.descriptors[i].get();
  Napi::Object message = Napi::Object::New(env);
  message.Set("data", Napi::Buffer<std::uint8_t>::Copy(env, buffer.get(), received.length));
  message.Set("fds", fds);
  message.Set("truncated", received.truncated);
  if (received.sender) message.Set("sender", describe(env, *received.sender));
  // Only now are they JavaScript's: had anything above thrown (a thread that is being terminated), they would have been closed.
  for (Fd& descriptor : received.descriptors) (void)descriptor.release();
  return message;
}

void stopReceiving(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  unwrap(info.Env(), attempt([&] { return ::shutdown(fd, SHUT_RD); }), "shutdown");
}

Napi::Value sendDatagram(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = toDescriptor(info[0]);
  const std::string path = toText(info[1], "path");
  const std::vector<int> descriptors = toDescriptors(info[3], "fds", kMaxDescriptors);
  const Bytes data = toBytes(info[2], "data");
  const SocketAddress to = unwrap(env, path[0] == '@' ? abstractAddress(path.substr(1)) : unixAddress(path), "sendmsg");
  return taken(env, sendPacket(fd, data.data, data.length, descriptors.data(), descriptors.size(), &to));
}

Napi::Value peerCredentials(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  ucred peer{};
  socklen_t size = sizeof peer;
  unwrap(info.Env(), attempt([&] { return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size); }), "getsockopt");
  return describe(info.Env(), peer);
}

Napi::Value peerPidfd(const Napi::CallbackInfo& info) {
  const int fd = toDescriptor(info[0]);
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  unwrap(info.Env(), attempt([&] { return ::getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size); }), "getsockopt");
  return Napi::Number::New(info.Env(), pidfd);
}

}  // namespace

void exportChannel(Napi::Object exports) {
  define<socketPair>(exports, "socketPair");
  define<sendMessage>(exports, "sendMessage");
  define<receiveMessage>(exports, "receiveMessage");
  define<stopReceiving>(exports, "stopReceiving");
  define<sendDatagram>(exports, "sendDatagram");
  define<peerCredentials>(exports, "peerCredentials");
  define<peerPidfd>(exports, "peerPidfd");
}

}  // namespace reuseport
