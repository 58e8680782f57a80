#pragma once

#include <cstdio>

/** Counts what is not so and goes on; `return checks();` at the end of main gives ctest its answer. */
#define CHECK(condition)                                                         \
  do {                                                                           \
    if (!(condition)) {                                                          \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      failedChecks++;                                                            \
    }                                                                            \
  } while (false)

inline int failedChecks = 0;
inline int checks() { return failedChecks == 0 ? 0 : 1; }
