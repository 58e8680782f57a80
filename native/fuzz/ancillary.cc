// The walk over a control buffer of any content: it must stay inside, end, and count what the headers say.

#include "core/ancillary.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::size_t count = 0;
  reuseport::visitDescriptors(data, size, [&count](int, bool) { count++; });
  // No byte can be part of two descriptors.
  if (count * sizeof(int) > size) std::abort();
  (void)reuseport::senderOf(data, size);
  return 0;
}
