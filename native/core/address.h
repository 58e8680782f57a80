#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "result.h"

namespace reuseport {

/** Longest path of a unix socket: sun_path has 108 bytes, the last one for the NUL (unix(7)). */
constexpr std::size_t kMaxUnixPath = 107;

/** An address in the kernel's form. */
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/** An address in words. `family` is AF_INET, AF_INET6 or AF_UNIX; `text` the host or the path. */
struct AddressText {
  int family = AF_UNSPEC;
  std::string text;
  std::uint16_t port = 0;
};

/** Numeric IPv4 or IPv6, the latter with an optional scope: a number or the name of an interface (ENODEV if there is none). Else EINVAL. */
Result<SocketAddress> inetAddress(const std::string& host, std::uint16_t port);

/** A path in the file system. ENAMETOOLONG above kMaxUnixPath; EINVAL if empty or with a NUL (it would name another socket). */
Result<SocketAddress> unixAddress(const std::string& path);

/** A name in the abstract namespace, without its leading NUL. Same errors. */
Result<SocketAddress> abstractAddress(const std::string& name);

/** The reverse of the three: abstract names begin with '@', an unnamed unix socket gives "". EAFNOSUPPORT for other families. */
Result<AddressText> describeAddress(const SocketAddress& address);

}  // namespace reuseport
