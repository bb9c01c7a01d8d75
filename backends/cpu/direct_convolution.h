// Convolution that unfolds nothing.
#pragma once

#include "core/backend.h"

namespace norma {

/// Whether the kernels below take a convolution of x, and are worth it: not too many filters in a group.
bool is_direct(const View& x, const View& weight, const Window& window, std::int64_t groups);
void direct_convolution(View y, View x, View weight, View bias, const Window& window, std::int64_t groups);
/// False, and nothing is done, where dx is not such a convolution of dy, or a weight is not finite.
bool direct_input_gradient(View dx, View dy, View weight, const Window& window, std::int64_t groups);
void direct_weight_gradient(View dweight, View dy, View x, const Window& window, std::int64_t groups);

}  // namespace norma
