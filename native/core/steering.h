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

/**
 * The cBPF program for SO_ATTACH_REUSEPORT_CBPF that gives the socket with group index i the share weights[i] / sum of the new
 * connections. ERANGE for an empty or all-zero table, for too many sockets or too large a weight.
 */
Result<std::vector<sock_filter>> assembleSteering(const std::uint32_t* weights, std::size_t count, SteerBy by);

}  // namespace reuseport
