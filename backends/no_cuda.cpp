// Stands for backends/cuda in a build without it.
#include "core/backend.h"

namespace norma {

Backend* make_cuda_backend() { return nullptr; }

}  // namespace norma
