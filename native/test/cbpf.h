#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

/** What a steering program can ask for. */
struct Packet {
  /** From the first byte of the IP header. */
  std::vector<std::uint8_t> network;
  std::uint32_t random = 0;
  std::uint32_t cpu = 0;
};

/**
 * Runs a classic BPF program as the kernel would (Documentation/networking/filter.rst), but says nothing (nullopt) where the kernel's
 * verifier would have refused it or where a load fails: those are mistakes of the assembler.
 */
inline std::optional<std::uint32_t> runProgram(const std::vector<sock_filter>& code, const Packet& packet) {
  std::uint32_t a = 0;
  std::uint32_t x = 0;
  for (std::size_t at = 0; at < code.size(); at++) {
    const sock_filter& now = code[at];
    const auto operand = [&] { return BPF_SRC(now.code) == BPF_X ? x : now.k; };
    switch (BPF_CLASS(now.code)) {
      case BPF_LD: {
        if (BPF_MODE(now.code) != BPF_ABS) return std::nullopt;
        const std::int64_t offset = static_cast<std::int32_t>(now.k);
        if (offset == SKF_AD_OFF + SKF_AD_RANDOM) {
          a = packet.random;
        } else if (offset == SKF_AD_OFF + SKF_AD_CPU) {
          a = packet.cpu;
        } else {
          const std::size_t size = BPF_SIZE(now.code) == BPF_W ? 4 : 1;
          const std::int64_t start = offset - SKF_NET_OFF;
          if (start < 0 || start + size > packet.network.size()) return std::nullopt;
          a = 0;
          for (std::size_t i = 0; i < size; i++) a = a << 8 | packet.network[static_cast<std::size_t>(start) + i];
        }
        break;
      }
      case BPF_ALU:
        switch (BPF_OP(now.code)) {
          case BPF_MOD:
            if (operand() == 0) return std::nullopt;
            a %= operand();
            break;
          case BPF_MUL:
            a *= operand();
            break;
          case BPF_RSH:
            if (operand() > 31) return std::nullopt;
            a >>= operand();
            break;
          case BPF_XOR:
            a ^= operand();
            break;
          default:
            return std::nullopt;
        }
        break;
      case BPF_JMP:
        switch (BPF_OP(now.code)) {
          case BPF_JA:
            at += now.k;
            break;
          case BPF_JEQ:
            at += a == operand() ? now.jt : now.jf;
            break;
          case BPF_JGE:
            at += a >= operand() ? now.jt : now.jf;
            break;
          default:
            return std::nullopt;
        }
        break;
      case BPF_MISC:
        if (BPF_MISCOP(now.code) != BPF_TAX) return std::nullopt;
        x = a;
        break;
      case BPF_RET:
        return now.k;
      default:
        return std::nullopt;
    }
  }
  return std::nullopt;
}
