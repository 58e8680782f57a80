#pragma once

#include <unistd.h>

#include <utility>

namespace reuseport {

/** Owns one descriptor: closed exactly once, when its owner goes out of scope, unless it was released. */
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    Fd old(std::exchange(fd_, other.release()));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ != -1) ::close(fd_);
  }

  int get() const { return fd_; }
  /** Gives the descriptor up: from here on it is the caller's. */
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace reuseport
