#include "core/ancillary.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "check.h"

namespace {

struct Seen {
  std::vector<int> wanted;
  std::vector<int> others;
};

/** A control buffer of exactly its own size on the heap, so that a sanitizer sees the first byte beyond it. */
Seen walk(const std::vector<char>& control) {
  const std::unique_ptr<char[]> exact(new char[control.size()]);
  std::copy(control.begin(), control.end(), exact.get());
  Seen seen;
  reuseport::visitDescriptors(exact.get(), control.size(),
                              [&seen](int fd, bool wanted) { (wanted ? seen.wanted : seen.others).push_back(fd); });
  return seen;
}

void append(std::vector<char>& control, std::size_t claimedLength, int level, int type, const std::vector<int>& payload) {
  cmsghdr header{};
  header.cmsg_len = claimedLength;
  header.cmsg_level = level;
  header.cmsg_type = type;
  std::vector<char> message(CMSG_SPACE(payload.size() * sizeof(int)));
  std::memcpy(message.data(), &header, sizeof header);
  std::memcpy(message.data() + CMSG_LEN(0), payload.data(), payload.size() * sizeof(int));
  control.insert(control.end(), message.begin(), message.end());
}

std::size_t lengthFor(std::size_t descriptors) { return CMSG_LEN(descriptors * sizeof(int)); }

}  // namespace

/** What the kernel never sends, a peer cannot either; but a length that lies must not be followed (I-13). */
int main() {
  CHECK(walk({}).wanted.empty());
  CHECK(walk(std::vector<char>(CMSG_LEN(0) - 1)).wanted.empty());

  {
    std::vector<char> control;
    append(control, lengthFor(3), SOL_SOCKET, SCM_RIGHTS, {7, 8, 9});
    CHECK((walk(control).wanted == std::vector<int>{7, 8, 9}));

    // The kernel's own length of a single message ends before the padding.
    control.resize(lengthFor(3));
    CHECK((walk(control).wanted == std::vector<int>{7, 8, 9}));

    // One byte less than the header says: nothing in it can be believed.
    control.resize(lengthFor(3) - 1);
    CHECK(walk(control).wanted.empty());
  }
  {
    // Several messages; kinds that bring no descriptors between them; a pidfd nobody asked for.
    std::vector<char> control;
    append(control, lengthFor(1), SOL_SOCKET, SCM_RIGHTS, {5});
    append(control, lengthFor(3), SOL_SOCKET, SCM_CREDENTIALS, {1, 0, 0});
    append(control, lengthFor(1), SOL_SOCKET, SCM_PIDFD, {6});
    append(control, lengthFor(2), IPPROTO_IP, SCM_RIGHTS, {100, 101});
    append(control, lengthFor(2), SOL_SOCKET, SCM_RIGHTS, {7, 8});
    const Seen seen = walk(control);
    CHECK((seen.wanted == std::vector<int>{5, 7, 8}));
    CHECK((seen.others == std::vector<int>{6}));
  }
  {
    // "Room for 3" is room for 4: what counts is the header.
    std::vector<char> control;
    append(control, lengthFor(4), SOL_SOCKET, SCM_RIGHTS, {1, 2, 3, 4});
    CHECK(control.size() == CMSG_SPACE(4 * sizeof(int)) && CMSG_SPACE(3 * sizeof(int)) == control.size());
    CHECK(walk(control).wanted.size() == 4);
  }
  for (const std::size_t lie : {std::size_t{0}, CMSG_LEN(0) - 1, lengthFor(1000), SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 15}) {
    // A header that cannot be right ends the walk; what came before it stands.
    std::vector<char> control;
    append(control, lengthFor(1), SOL_SOCKET, SCM_RIGHTS, {5});
    append(control, lie, SOL_SOCKET, SCM_RIGHTS, {6});
    append(control, lengthFor(1), SOL_SOCKET, SCM_RIGHTS, {7});
    CHECK((walk(control).wanted == std::vector<int>{5}));
  }
  {
    // A payload that is not a whole number of descriptors: the rest is no descriptor.
    std::vector<char> control;
    append(control, lengthFor(2) - 1, SOL_SOCKET, SCM_RIGHTS, {5, 6});
    CHECK((walk(control).wanted == std::vector<int>{5}));
  }
  return checks();
}
