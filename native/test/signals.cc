#include "core/signals.h"

#include <csignal>

#include "check.h"

using reuseport::signalName;

int main() {
  CHECK(signalName(SIGHUP) == "SIGHUP");
  CHECK(signalName(SIGKILL) == "SIGKILL");
  CHECK(signalName(SIGTTOU) == "SIGTTOU");
  CHECK(signalName(40) == "SIG40");
  // Every classic signal has its name.
  for (int number = 1; number < 32; number++) CHECK(signalName(number) != "SIG" + std::to_string(number));
  return checks();
}
