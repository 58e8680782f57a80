#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "result.h"

namespace reuseport {

/** What chooses the socket of a new connection. */
enum class SteerBy {
  /** A fresh random number: shares are exact in the long run. */
  random,
  /** The client's address: a client meets the same socket for as long as the weights stay. */
  client,
  /** The CPU that handles the packet, modulo the sum of the weights: meant for equal weights. */
  cpu,
};

/** Largest weight: shares down to 1/100 of a percent, and a sum so far below 2^32 that "modulo" favours nobody by more than 0.5 %. */
constexpr std::uint32_t kMaxWeight = 10000;
/** Most sockets: two instructions each, and the kernel takes 4,096 (BPF_MAXINSNS) including the 30 that compute the number. */
constexpr std::size_t kMaxSteered = 2000;

/** Shares of a canary are given in these: 1/100 of a percent. */
constexpr std::uint32_t kWholeShare = 10000;

/** One socket that gets its share before anything else is chosen. */
struct Canary {
  std::uint32_t index;
  /** Of kWholeShare. */
  std::uint32_t share;
  /** random: each connection anew. client: the same clients always. */
  SteerBy by;
};

/**
 * The cBPF program for SO_ATTACH_REUSEPORT_CBPF that gives the socket with group index i the share weights[i] / sum of the new
 * connections; with a canary, of those that it does not get. Whom the canary gets does not depend on the weights: a client stays on its side
 * when they change. ERANGE for an empty or all-zero table, for too many sockets, too large a weight, or a canary beyond the table or with
 * more than everything.
 */
Result<std::vector<sock_filter>> assembleSteering(const std::uint32_t* weights, std::size_t count, SteerBy by,
                                                  const Canary* canary = nullptr);

}  // namespace reuseport
