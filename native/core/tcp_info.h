#pragma once

#include <cstddef>
#include <cstdint>

#include "result.h"

namespace reuseport {

/** As much of TCP_INFO as acceptQueueOf reads; the kernel fills shorter buffers than its own struct (it has only ever grown at its end). */
constexpr std::size_t kTcpInfoSize = 40;

struct AcceptQueue {
  std::uint32_t length;
  std::uint32_t limit;
};

/** Decodes TCP_INFO of a listening socket. EINVAL when it is shorter than kTcpInfoSize or of a socket that does not listen. */
Result<AcceptQueue> decodeAcceptQueue(const void* info, std::size_t length);

/** Reads both from the kernel (0.4 µs a call, kernel.md §10). */
Result<AcceptQueue> acceptQueueOf(int socket);

}  // namespace reuseport
