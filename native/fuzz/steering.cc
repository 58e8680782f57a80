// Any table of weights: the program is refused, or it is one that the kernel would take, and for any packet it gives an index of the
// table whose weight is not 0.

#include "core/steering.h"

#include <cstdlib>
#include <cstring>

#include "../test/cbpf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  struct {
    std::uint32_t random;
    std::uint8_t by;
    std::uint8_t version;
    std::uint8_t source[16];
  } head{};
  if (size < sizeof head) return 0;
  std::memcpy(&head, data, sizeof head);
  std::vector<std::uint32_t> weights((size - sizeof head) / 2);
  for (std::size_t i = 0; i < weights.size(); i++) {
    std::uint16_t weight;
    std::memcpy(&weight, data + sizeof head + 2 * i, sizeof weight);
    weights[i] = weight;
  }

  const auto program = reuseport::assembleSteering(weights.data(), weights.size(), static_cast<reuseport::SteerBy>(head.by % 3));
  if (!program.ok()) return 0;
  if (program.value().size() > BPF_MAXINSNS) std::abort();

  Packet packet;
  packet.random = packet.cpu = head.random;
  // The whole header of its version and nothing more: a load beyond it would end the program with index 0.
  const bool v6 = head.version % 16 == 6;
  packet.network.assign(v6 ? 40 : 20, 0);
  packet.network[0] = static_cast<std::uint8_t>(head.version << 4);
  std::memcpy(&packet.network[v6 ? 8 : 4], head.source, sizeof head.source);
  const auto index = runProgram(program.value(), packet);
  if (!index.has_value() || *index >= weights.size() || weights[*index] == 0) std::abort();
  return 0;
}
