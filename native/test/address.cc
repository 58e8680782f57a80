#include "core/address.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>

#include "check.h"
#include "core/fd.h"

using namespace reuseport;

namespace {

std::string roundTrip(const Result<SocketAddress>& address) {
  if (!address.ok()) return "errno " + std::to_string(address.error());
  const auto described = describeAddress(address.value());
  if (!described.ok()) return "errno " + std::to_string(described.error());
  if (described.value().family == AF_UNIX) return described.value().text;
  return described.value().text + " " + std::to_string(described.value().port);
}

std::string failure(int error) { return "errno " + std::to_string(error); }

}  // namespace

int main() {
  CHECK(roundTrip(inetAddress("127.0.0.1", 80)) == "127.0.0.1 80");
  CHECK(roundTrip(inetAddress("0.0.0.0", 65535)) == "0.0.0.0 65535");
  CHECK(roundTrip(inetAddress("::", 0)) == ":: 0");
  CHECK(roundTrip(inetAddress("2001:DB8::1", 443)) == "2001:db8::1 443");
  CHECK(roundTrip(inetAddress("::ffff:192.0.2.1", 1)) == "::ffff:192.0.2.1 1");
  CHECK(roundTrip(inetAddress("fe80::1%lo", 1)) == "fe80::1%lo 1");
  CHECK(roundTrip(inetAddress("fe80::1%" + std::to_string(::if_nametoindex("lo")), 1)) == "fe80::1%lo 1");
  // The name of no interface; an index of none is left to bind(2), and is shown as a number.
  CHECK(roundTrip(inetAddress("fe80::1%nowhere", 1)) == failure(ENODEV));
  CHECK(roundTrip(inetAddress("fe80::1%", 1)) == failure(ENODEV));
  CHECK(roundTrip(inetAddress("fe80::1%0", 1)) == failure(ENODEV));
  CHECK(roundTrip(inetAddress("fe80::1%999999", 1)) == "fe80::1%999999 1");
  CHECK(roundTrip(inetAddress("fe80::1%99999999999999999999", 1)) == failure(ENODEV));
  for (const char* wrong : {"", "localhost", "127.1", "0x7f.0.0.1", "127.0.0.1 ", "[::1]", "::1::", "1.2.3.4%lo", "%lo"}) {
    CHECK(roundTrip(inetAddress(wrong, 1)) == failure(EINVAL));
  }
  CHECK(roundTrip(inetAddress(std::string("127.0.0.1\0.evil", 15), 1)) == failure(EINVAL));

  CHECK(roundTrip(unixAddress("/run/a.sock")) == "/run/a.sock");
  CHECK(roundTrip(unixAddress(std::string(107, 'p'))) == std::string(107, 'p'));
  CHECK(roundTrip(unixAddress(std::string(108, 'p'))) == failure(ENAMETOOLONG));
  // Both would name a socket in the abstract namespace, which any uid may connect to.
  CHECK(roundTrip(unixAddress("")) == failure(EINVAL));
  CHECK(roundTrip(unixAddress(std::string("\0name", 5))) == failure(EINVAL));
  CHECK(roundTrip(abstractAddress("name")) == "@name");
  CHECK(roundTrip(abstractAddress(std::string(107, 'n'))) == "@" + std::string(107, 'n'));
  CHECK(roundTrip(abstractAddress(std::string(108, 'n'))) == failure(ENAMETOOLONG));
  CHECK(roundTrip(abstractAddress("")) == failure(EINVAL));

  // The kernel agrees about what an abstract name is: no file, and all of its bytes count.
  {
    const Fd receiver(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const Fd sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const SocketAddress name = abstractAddress("reuseport-test-" + std::to_string(::getpid())).value();
    CHECK(::bind(receiver.get(), name.get(), name.length) == 0);
    CHECK(::sendto(sender.get(), "x", 1, 0, name.get(), name.length) == 1);
    char byte = 0;
    CHECK(::recv(receiver.get(), &byte, 1, MSG_DONTWAIT) == 1 && byte == 'x');
  }

  // What only others make: an unnamed socket, a path of 108 bytes without a NUL, a family of no interest.
  SocketAddress address;
  address.storage.ss_family = AF_UNIX;
  address.length = sizeof(sa_family_t);
  CHECK(describeAddress(address).value().text.empty());
  std::memset(reinterpret_cast<sockaddr_un*>(&address.storage)->sun_path, 'p', 108);
  address.length = sizeof(sockaddr_un);
  CHECK(describeAddress(address).value().text == std::string(108, 'p'));
  address.storage.ss_family = AF_PACKET;
  CHECK(describeAddress(address).error() == EAFNOSUPPORT);
  return checks();
}
