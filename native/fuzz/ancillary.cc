// The walk over a control buffer of any content: it must stay inside, end, and count what the headers say.

#include "core/ancillary.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::size_t count = 0;
  // Looked at, or the compiler leaves the read out, and a wrong one is never seen.
  [[maybe_unused]] static volatile int last;
  reuseport::visitDescriptors(data, size, [&count](int fd, bool) {
    last = fd;
    count++;
  });
  // No byte can be part of two descriptors.
  if (count * sizeof(int) > size) std::abort();
  (void)reuseport::senderOf(data, size);
  return 0;
}
