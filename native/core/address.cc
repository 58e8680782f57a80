#include "address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace reuseport {
namespace {

constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);

template <typename T>
SocketAddress pack(const T& native, std::size_t length = sizeof(T)) {
  SocketAddress address;
  std::memcpy(&address.storage, &native, length);
  address.length = static_cast<socklen_t>(length);
  return address;
}

template <typename T>
T unpack(const SocketAddress& address) {
  T native;
  std::memcpy(&native, &address.storage, sizeof native);
  return native;
}

/** The interface of "%eth0" or "%2"; 0 if there is none. */
unsigned scopeIndex(const std::string& scope) {
  if (scope.empty() || scope.size() > 9 || scope.find_first_not_of("0123456789") != std::string::npos) {
    return ::if_nametoindex(scope.c_str());
  }
  return static_cast<unsigned>(std::stoul(scope));
}

std::string scopeText(unsigned index) {
  char name[IF_NAMESIZE];
  return ::if_indextoname(index, name) == nullptr ? std::to_string(index) : std::string(name);
}

/** 0 when a unix socket can have this name. */
int unixNameError(const std::string& name) {
  if (name.empty() || name.find('\0') != std::string::npos) return EINVAL;
  return name.size() > kMaxUnixPath ? ENAMETOOLONG : 0;
}

}  // namespace

Result<SocketAddress> inetAddress(const std::string& host, std::uint16_t port) {
  // inet_pton reads a C string: what follows a NUL would be ignored, and another address bound than the one that was written.
  if (host.find('\0') != std::string::npos) return Failure{EINVAL};

  sockaddr_in v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return pack(v4);
  }

  sockaddr_in6 v6{};
  const std::size_t percent = host.find('%');
  if (::inet_pton(AF_INET6, host.substr(0, percent).c_str(), &v6.sin6_addr) != 1) return Failure{EINVAL};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (percent != std::string::npos) {
    v6.sin6_scope_id = scopeIndex(host.substr(percent + 1));
    if (v6.sin6_scope_id == 0) return Failure{ENODEV};
  }
  return pack(v6);
}

Result<SocketAddress> unixAddress(const std::string& path) {
  if (const int error = unixNameError(path)) return Failure{error};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return pack(address, kPathOffset + path.size() + 1);
}

Result<SocketAddress> abstractAddress(const std::string& name) {
  if (const int error = unixNameError(name)) return Failure{error};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // The name is counted by the length of the address; a NUL at its end would belong to it (unix(7)).
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return pack(address, kPathOffset + 1 + name.size());
}

Result<AddressText> describeAddress(const SocketAddress& address) {
  switch (address.storage.ss_family) {
    case AF_INET: {
      const auto v4 = unpack<sockaddr_in>(address);
      char text[INET_ADDRSTRLEN];
      ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
      return AddressText{AF_INET, text, ntohs(v4.sin_port)};
    }
    case AF_INET6: {
      const auto v6 = unpack<sockaddr_in6>(address);
      char text[INET6_ADDRSTRLEN];
      ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
      const std::string scope = v6.sin6_scope_id == 0 ? "" : "%" + scopeText(v6.sin6_scope_id);
      return AddressText{AF_INET6, text + scope, ntohs(v6.sin6_port)};
    }
    case AF_UNIX: {
      if (address.length <= kPathOffset) return AddressText{AF_UNIX, "", 0};
      const auto local = unpack<sockaddr_un>(address);
      // Of a path of 108 bytes the kernel tells a length with the NUL that has no room (unix(7), "BUGS").
      const std::size_t size = std::min<std::size_t>(address.length, sizeof local) - kPathOffset;
      if (local.sun_path[0] == '\0') return AddressText{AF_UNIX, "@" + std::string(local.sun_path + 1, size - 1), 0};
      // The kernel takes paths of 108 bytes without a NUL from others.
      return AddressText{AF_UNIX, std::string(local.sun_path, ::strnlen(local.sun_path, size)), 0};
    }
    default:
      return Failure{EAFNOSUPPORT};
  }
}

}  // namespace reuseport
