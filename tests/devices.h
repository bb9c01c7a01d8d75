// Which devices there are.
#pragma once

#include "core/backend.h"

namespace norma::tests {

/// False in a build without CUDA, and where no GPU can be used.
inline bool has_cuda() {
  try {
    static_cast<void>(backend(cuda));
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace norma::tests
