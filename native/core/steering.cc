#include "steering.h"

namespace reuseport {
namespace {

// At a reuseport group the packet begins *after* the TCP header, so a SYN has no bytes at all and a plain load ends the program
// with result 0, index 0. The IP header is reached from the network header (kernel.md §4).
constexpr std::uint32_t network(std::uint32_t offset) { return static_cast<std::uint32_t>(SKF_NET_OFF) + offset; }
constexpr std::uint32_t ancillary(std::uint32_t which) { return static_cast<std::uint32_t>(SKF_AD_OFF) + which; }

constexpr std::uint32_t kVersionOffset = 0;
constexpr std::uint32_t kIpv4SourceOffset = 12;
constexpr std::uint32_t kIpv6SourceOffset = 8;

class Program {
 public:
  void load(std::uint16_t size, std::uint32_t offset) { add(BPF_LD | size | BPF_ABS, offset); }
  void alu(std::uint16_t operation, std::uint32_t constant) { add(BPF_ALU | operation | BPF_K, constant); }
  void xorWithX() { add(BPF_ALU | BPF_XOR | BPF_X, 0); }
  void copyToX() { add(BPF_MISC | BPF_TAX, 0); }
  void jump(std::uint16_t condition, std::uint32_t constant, std::uint8_t ifTrue, std::uint8_t ifFalse) {
    code_.push_back({static_cast<std::uint16_t>(BPF_JMP | condition | BPF_K), ifTrue, ifFalse, constant});
  }
  void give(std::uint32_t index) { add(BPF_RET | BPF_K, index); }

  std::vector<sock_filter> take() && { return std::move(code_); }

 private:
  void add(int code, std::uint32_t constant) { code_.push_back({static_cast<std::uint16_t>(code), 0, 0, constant}); }
  std::vector<sock_filter> code_;
};

/** A ^= A >> shift. */
void xorShift(Program& program, std::uint32_t shift) {
  program.copyToX();
  program.alu(BPF_RSH, shift);
  program.xorWithX();
}

/**
 * A = a hash of the source address. A dual-stack group sees IPv4 packets with an IPv4 header (kernel.md §4), so the packet itself
 * says which it is. The mixing is the 32-bit finalizer of MurmurHash3: neighbouring addresses must not meet the same socket.
 */
void loadClientHash(Program& program) {
  program.load(BPF_B, network(kVersionOffset));
  program.alu(BPF_RSH, 4);
  constexpr std::uint8_t ipv4Length = 2;
  program.jump(BPF_JEQ, 6, ipv4Length, 0);
  // IPv4
  program.load(BPF_W, network(kIpv4SourceOffset));
  constexpr std::uint32_t ipv6Length = 10;
  program.jump(BPF_JA, ipv6Length, 0, 0);
  // IPv6: the four words of the address, folded
  program.load(BPF_W, network(kIpv6SourceOffset));
  for (std::uint32_t word = 1; word < 4; word++) {
    program.copyToX();
    program.load(BPF_W, network(kIpv6SourceOffset + 4 * word));
    program.xorWithX();
  }
  xorShift(program, 16);
  program.alu(BPF_MUL, 0x85ebca6b);
  xorShift(program, 13);
  program.alu(BPF_MUL, 0xc2b2ae35);
  xorShift(program, 16);
}

/** A = what chooses. */
void loadChoice(Program& program, SteerBy by) {
  switch (by) {
    case SteerBy::random:
      return program.load(BPF_W, ancillary(SKF_AD_RANDOM));
    case SteerBy::client:
      return loadClientHash(program);
    case SteerBy::cpu:
      return program.load(BPF_W, ancillary(SKF_AD_CPU));
  }
}

/** Gives the canary its share, and falls through with the rest. */
void giveCanary(Program& program, const Canary& canary) {
  loadChoice(program, canary.by);
  // Mixed once more (golden ratio): with the same number as --balance client it would take its clients from one worker alone.
  program.alu(BPF_MUL, 0x9e3779b1);
  xorShift(program, 15);
  program.alu(BPF_MOD, kWholeShare);
  program.jump(BPF_JGE, canary.share, 1, 0);
  program.give(canary.index);
}

}  // namespace

Result<std::vector<sock_filter>> assembleSteering(const std::uint32_t* weights, std::size_t count, SteerBy by,
                                                  const Canary* canary) {
  if (count > kMaxSteered) return Failure{ERANGE};
  std::uint32_t sum = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < count; i++) {
    if (weights[i] > kMaxWeight) return Failure{ERANGE};
    if (weights[i] == 0) continue;
    sum += weights[i];
    last = i;
  }
  if (sum == 0) return Failure{ERANGE};
  if (canary != nullptr && (canary->index >= count || canary->share > kWholeShare)) return Failure{ERANGE};

  Program program;
  if (canary != nullptr) giveCanary(program, *canary);
  loadChoice(program, by);
  program.alu(BPF_MOD, sum);

  // A is in [0, sum): the first socket whose running sum is above it gets the connection. Sockets of weight 0 do not appear.
  std::uint32_t running = 0;
  for (std::size_t i = 0; i < last; i++) {
    if (weights[i] == 0) continue;
    running += weights[i];
    program.jump(BPF_JGE, running, 1, 0);
    program.give(static_cast<std::uint32_t>(i));
  }
  program.give(static_cast<std::uint32_t>(last));
  return std::move(program).take();
}

}  // namespace reuseport
