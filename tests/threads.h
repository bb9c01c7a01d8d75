// The number of threads as a test wants it.
#pragma once

#include "core/parallel.h"

namespace norma::tests {

/// Sets it for one scope.
class Threads {
 public:
  explicit Threads(int threads) : before_(num_threads()) { set_num_threads(threads); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace norma::tests
