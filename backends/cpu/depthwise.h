// Depthwise convolution: each group has one channel, and few filters.
#pragma once

#include "core/backend.h"

namespace norma {

/// Whether the kernels below take a convolution of x: filters of one channel, planes wide enough for vectors.
bool is_depthwise(const View& x, const View& weight, const Window& window, std::int64_t groups);
void depthwise(View y, View x, View weight, View bias, const Window& window, std::int64_t groups);
/// False, and nothing is done, where the gradient is not one of one filter for each channel, or a weight is
/// not finite.
bool depthwise_input_gradient(View dx, View dy, View weight, const Window& window, std::int64_t groups);
void depthwise_weight_gradient(View dweight, View dy, View x, const Window& window, std::int64_t groups);

}  // namespace norma
