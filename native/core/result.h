#pragma once

#include <cerrno>
#include <utility>

namespace reuseport {

/** The errno of a call that failed. */
struct Failure {
  int error;
};

/** A value, or the errno that came instead of it. */
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Failure failure) : error_(failure.error) {}

  bool ok() const { return error_ == 0; }
  int error() const { return error_; }
  T& value() & { return value_; }
  const T& value() const& { return value_; }
  T&& value() && { return std::move(value_); }

 private:
  T value_{};
  int error_ = 0;
};

/** Success without a value. */
struct Done {};

/**
 * Runs a system call again for as long as a signal interrupts it, and reads errno before anything else can change it. Not for close(2),
 * which has closed the descriptor although it says EINTR (Linux, close(2)).
 */
template <typename Call>
auto attempt(Call call) -> Result<decltype(call())> {
  for (;;) {
    const auto value = call();
    if (value != -1) return value;
    const int error = errno;
    if (error != EINTR) return Failure{error};
  }
}

}  // namespace reuseport
