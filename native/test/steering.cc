#include "core/steering.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "cbpf.h"
#include "check.h"

using namespace reuseport;

namespace {

std::vector<sock_filter> assemble(const std::vector<std::uint32_t>& weights, SteerBy by) {
  auto program = assembleSteering(weights.data(), weights.size(), by);
  CHECK(program.ok());
  return std::move(program).value();
}

int refusal(const std::vector<std::uint32_t>& weights) {
  return assembleSteering(weights.data(), weights.size(), SteerBy::random).error();
}

Packet from(const std::string& address) {
  Packet packet;
  packet.network.assign(40, 0);
  const bool v6 = address.find(':') != std::string::npos;
  packet.network[0] = v6 ? 0x60 : 0x45;
  if (::inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(), &packet.network[v6 ? 8 : 12]) != 1) packet.network.clear();
  if (!v6) packet.network.resize(20);
  return packet;
}

/** Connections per index, for `total` packets made by `make(i)`. */
template <typename Make>
std::vector<int> spread(const std::vector<std::uint32_t>& weights, SteerBy by, int total, Make make) {
  const auto program = assemble(weights, by);
  std::vector<int> counts(weights.size());
  for (int i = 0; i < total; i++) {
    const auto index = runProgram(program, make(static_cast<std::uint32_t>(i)));
    CHECK(index.has_value() && *index < weights.size());
    if (index.has_value() && *index < weights.size()) counts[*index]++;
  }
  return counts;
}

Packet withRandom(std::uint32_t value) {
  Packet packet;
  packet.random = value;
  return packet;
}

Packet onCpu(std::uint32_t value) {
  Packet packet;
  packet.cpu = value;
  return packet;
}

}  // namespace

int main() {
  // Every value of "random" modulo the sum once: the shares are the weights themselves.
  CHECK((spread({9, 1}, SteerBy::random, 10, withRandom) == std::vector<int>{9, 1}));
  CHECK((spread({1, 0}, SteerBy::random, 10, withRandom) == std::vector<int>{10, 0}));
  CHECK((spread({0, 1}, SteerBy::random, 10, withRandom) == std::vector<int>{0, 10}));
  CHECK((spread({0, 3, 0, 5, 2, 0}, SteerBy::random, 100, withRandom) == std::vector<int>{0, 30, 0, 50, 20, 0}));
  CHECK((spread({1, 1}, SteerBy::cpu, 8, onCpu) == std::vector<int>{4, 4}));

  // The whole table, within the kernel's limit of instructions.
  const std::vector<std::uint32_t> full(kMaxSteered, kMaxWeight);
  for (const SteerBy by : {SteerBy::random, SteerBy::client, SteerBy::cpu}) CHECK(assemble(full, by).size() <= BPF_MAXINSNS);
  const auto last = runProgram(assemble(full, SteerBy::random), withRandom(kMaxSteered * kMaxWeight - 1));
  CHECK(last == kMaxSteered - 1);

  CHECK(refusal({}) == ERANGE);
  CHECK(refusal({0, 0}) == ERANGE);
  CHECK(refusal({kMaxWeight + 1}) == ERANGE);
  CHECK(refusal(std::vector<std::uint32_t>(kMaxSteered + 1, 1)) == ERANGE);

  // Neighbouring clients are spread evenly, IPv4 as IPv6, wherever in the address they differ.
  const auto within = [](const std::vector<int>& counts, int expected) {
    return std::all_of(counts.begin(), counts.end(), [&](int count) { return count > expected * 0.8 && count < expected * 1.2; });
  };
  CHECK(within(spread({1, 1, 1, 1, 1}, SteerBy::client, 5000, [](std::uint32_t i) {
    return from("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250));
  }), 1000));
  CHECK(within(spread({1, 1, 1, 1, 1}, SteerBy::client, 5000, [](std::uint32_t i) {
    return from(std::to_string(1 + i % 200) + ".1." + std::to_string(i / 200) + ".7");
  }), 1000));
  for (const char* prefix : {"2001:db8:", "2001:db8:0:0:", "2001:db8:0:0:0:0:"}) {
    CHECK(within(spread({1, 1, 1, 1, 1}, SteerBy::client, 5000, [prefix](std::uint32_t i) {
      char group[8];
      std::snprintf(group, sizeof group, "%x", 0x1000 + i);
      const std::string address = std::string(prefix) + group;
      return from(std::count(address.begin(), address.end(), ':') == 7 ? address : address + "::");
    }), 1000));
  }

  // The same client, the same socket; the packet, not the table, says which header it is.
  const auto sticky = assemble({1, 1, 1, 1, 1, 1, 1}, SteerBy::client);
  CHECK(runProgram(sticky, from("192.0.2.55")) == runProgram(sticky, from("192.0.2.55")));
  CHECK(runProgram(sticky, from("192.0.2.55")).has_value());
  CHECK(runProgram(sticky, from("fe80::1")).has_value());
  // A canary gets its share of what may come, and the rest is shared out as without it.
  const auto shareOf = [](const std::vector<std::uint32_t>& weights, const Canary& canary, int total, auto make) {
    auto program = assembleSteering(weights.data(), weights.size(), SteerBy::random, &canary);
    CHECK(program.ok());
    const auto code = std::move(program).value();
    std::vector<int> counts(weights.size());
    for (int i = 0; i < total; i++) counts[*runProgram(code, make(static_cast<std::uint32_t>(i)))]++;
    return counts;
  };
  const auto anything = [](std::uint32_t i) {
    Packet packet = from("10." + std::to_string(i / 62500) + "." + std::to_string(i / 250 % 250) + "." + std::to_string(i % 250));
    packet.random = i * 2654435761U;
    return packet;
  };
  for (const SteerBy by : {SteerBy::random, SteerBy::client}) {
    for (const std::uint32_t share : {100U, 1000U, 5000U}) {
      const auto counts = shareOf({1, 0, 1}, {1, share, by}, 100000, anything);
      CHECK(std::abs(counts[1] - static_cast<int>(share) * 10) < 600);
      CHECK(std::abs(counts[0] - counts[2]) < 2000);
    }
  }
  CHECK((shareOf({0, 1}, {0, 0, SteerBy::random}, 100, anything) == std::vector<int>{0, 100}));
  CHECK((shareOf({0, 1}, {0, kWholeShare, SteerBy::client}, 100, anything) == std::vector<int>{100, 0}));

  // It takes its clients from every worker that --balance client would send them to, and whoever it has it keeps when the others change.
  const std::vector<std::uint32_t> three{1, 1, 1, 0};
  const std::vector<std::uint32_t> two{1, 0, 1, 0};
  const Canary tenth{3, 1000, SteerBy::client};
  const auto before = assembleSteering(three.data(), three.size(), SteerBy::client, &tenth).value();
  const auto after = assembleSteering(two.data(), two.size(), SteerBy::client, &tenth).value();
  const auto without = assemble(three, SteerBy::client);
  std::vector<int> taken(4);
  for (std::uint32_t i = 0; i < 30000; i++) {
    const Packet packet = anything(i);
    const auto index = *runProgram(before, packet);
    CHECK((index == 3) == (*runProgram(after, packet) == 3));
    if (index == 3) taken[*runProgram(without, packet)]++;
    else CHECK(index == *runProgram(without, packet));
  }
  for (int i = 0; i < 3; i++) CHECK(taken[static_cast<std::size_t>(i)] > 800 && taken[static_cast<std::size_t>(i)] < 1200);
  const Canary beyond{4, 1000, SteerBy::random};
  CHECK(assembleSteering(three.data(), three.size(), SteerBy::random, &beyond).error() == ERANGE);
  const Canary more{3, kWholeShare + 1, SteerBy::random};
  CHECK(assembleSteering(three.data(), three.size(), SteerBy::random, &more).error() == ERANGE);
  for (const SteerBy by : {SteerBy::random, SteerBy::client})
    CHECK(assembleSteering(full.data(), full.size(), by, &tenth).value().size() <= BPF_MAXINSNS);
  return checks();
}
