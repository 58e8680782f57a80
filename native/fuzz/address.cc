// Any text as an address, and any bytes as one of the kernel's: what is taken means the same when it is written and read again, is no wider
// than it was written, and a path never names a socket in the abstract namespace.

#include "core/address.h"

#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace {

using reuseport::SocketAddress;

bool same(const SocketAddress& one, const SocketAddress& other) {
  return one.length == other.length && std::memcmp(&one.storage, &other.storage, one.length) == 0;
}

bool isEvery(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET)
    return reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr.s_addr == htonl(INADDR_ANY);
  const auto& inet6 = *reinterpret_cast<const sockaddr_in6*>(&address.storage);
  return std::memcmp(&inet6.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
}

void checkHost(const std::string& host, std::uint16_t port) {
  const auto address = reuseport::inetAddress(host, port);
  if (!address.ok()) return;
  const auto text = reuseport::describeAddress(address.value());
  if (!text.ok() || text.value().port != port) std::abort();
  const auto again = reuseport::inetAddress(text.value().text, port);
  if (!again.ok() || !same(address.value(), again.value())) std::abort();
  const std::string digits = host.substr(0, host.find('%'));
  if (isEvery(address.value()) && digits.find_first_not_of("0:.") != std::string::npos) std::abort();
}

void checkPath(const std::string& path) {
  const auto address = reuseport::unixAddress(path);
  if (address.ok()) {
    const auto text = reuseport::describeAddress(address.value());
    if (!text.ok() || text.value().text != path) std::abort();
    if (reinterpret_cast<const sockaddr_un*>(&address.value().storage)->sun_path[0] == '\0') std::abort();
  }
  const auto hidden = reuseport::abstractAddress(path);
  if (!hidden.ok()) return;
  const auto text = reuseport::describeAddress(hidden.value());
  if (!text.ok() || text.value().text != "@" + path) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const auto port = static_cast<std::uint16_t>(data[1] << 8 | data[2]);
  const std::string text(reinterpret_cast<const char*>(data + 3), size - 3);
  switch (data[0] % 3) {
    case 0:
      checkHost(text, port);
      break;
    case 1:
      checkPath(text);
      break;
    default: {
      SocketAddress address;
      address.length = static_cast<socklen_t>(std::min(text.size(), sizeof(sockaddr_un) + 1));
      std::memcpy(&address.storage, text.data(), address.length);
      (void)reuseport::describeAddress(address);
    }
  }
  return 0;
}
