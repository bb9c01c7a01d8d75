// The norms as ops; nn/norm/ has them as layers. Everything is differentiable to any order. x of a floating
// dtype; parameters have x's dtype and device and may be absent (undefined).
#pragma once

#include <utility>

#include "autograd/ops.h"

namespace norma {

// Over the last axis. x [.., d]; weight and bias [d], each optional.

/// Ba, Kiros, Hinton 2016 (arXiv:1607.06450): (x - mean) / sqrt(var + eps) * weight + bias, biased variance.
/// Statistics named in `constants` count as constants on the way back.
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5,
                  Detached constants = {});

/// Zhang & Sennrich 2019 (arXiv:1910.07467). outside: x / (rms + eps); inside: x / sqrt(mean(x^2) + eps). The
/// mean square is over the first `counted` entries; 0: over all.
enum class RmsEps : std::uint8_t { outside, inside };
Tensor rms_norm(const Tensor& x, const Tensor& weight = {}, double eps = 1e-8, RmsEps mode = RmsEps::outside,
                std::int64_t counted = 0);

/// x / max(|x|, eps) * weight with the 2-norm of each row; weight: one element (rank 0 or 1), optional. A row
/// shorter than eps is divided by the constant eps, so a row of zeros gives zeros and the finite gradient
/// weight * dy / eps.
Tensor l2_norm(const Tensor& x, const Tensor& weight = {}, double eps = 1e-12);

/// {sum, norm(sum)} with sum = x + residual: what a residual stream does between two sublayers, in one pass
/// over memory. x and residual have one shape.
std::pair<Tensor, Tensor> add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                                         const Tensor& bias = {}, double eps = 1e-5);
std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                                       double eps = 1e-8, RmsEps mode = RmsEps::outside);

}  // namespace norma
