#pragma once

#include <string>

namespace reuseport {

/** "SIGTERM" for 15. Real-time signals and unknown numbers give "SIG<number>" (sigabbrev_np would need glibc 2.32). */
std::string signalName(int number);

}  // namespace reuseport
