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

// Of weights, and what whitening needs.

/// Salimans & Kingma 2016 (arXiv:1602.07868, eq. 2): g * v / |v|, the 2-norm over all axes but `dim`; g has
/// v's rank, with extents of 1 but at dim. dim = -1, as in PyTorch: one norm of all of v, g a scalar (rank
/// 0). A v of norm 0 gives 0 and passes no gradient on, to v or to g.
Tensor weight_norm(const Tensor& v, const Tensor& g, int dim = 0);

/// a^(-1/2) of symmetric positive definite matrices a [.., d, d] by Newton-Schulz steps from a / trace(a)
/// (Huang et al. 2019, arXiv:1904.03441, eq. 5 and 6, in the coupled form, which keeps rounding errors
/// small). An eigenvalue of r * trace(a) needs about log(1 / r) / 0.8 + 4 steps for all digits.
Tensor inverse_square_root(const Tensor& a, int iterations = 5);

// Over channels. x [n, channels, spatial..] with any number of spatial axes, none included; weight and bias
// [channels], each optional.

/// What a batch says about each channel: values over n and the spatial axes, f64 [channels], without history.
struct BatchStatistics {
  Tensor mean, var;        // var is biased: the mean square of x - mean
  std::int64_t count = 0;  // values that each channel is made of; 0 leaves mean and var at 0
};
/// mask: optional, boolean [n, spatial..]; values where it is false do not count, whatever they are.
BatchStatistics batch_statistics(const Tensor& x, const Tensor& mask = {});

/// Ioffe & Szegedy 2015 (arXiv:1502.03167), training: (x - mean) / sqrt(var + eps) * weight + bias by the
/// statistics of this x, differentiated through them. y is 0 where the mask is false. Throws for one value a
/// channel.
Tensor batch_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5,
                  const Tensor& mask = {});
/// The same for a caller who has them already: statistics must be batch_statistics(x, mask).
Tensor batch_norm(const Tensor& x, const BatchStatistics& statistics, const Tensor& weight,
                  const Tensor& bias, double eps = 1e-5, const Tensor& mask = {});
/// Inference: mean and var [channels], of x's dtype or f64, are constants without gradient (running
/// statistics), read now: they may change before the gradient is taken.
Tensor batch_norm_inference(const Tensor& x, const Tensor& mean, const Tensor& var, const Tensor& weight = {},
                            const Tensor& bias = {}, double eps = 1e-5, const Tensor& mask = {});

/// Wu & He 2018 (arXiv:1803.08494): the channels of one sample in num_groups groups of neighbours, each
/// normalized over its channels and the spatial axes. num_groups must divide channels.
Tensor group_norm(const Tensor& x, std::int64_t num_groups, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);

/// Ulyanov, Vedaldi, Lempitsky 2016 (arXiv:1607.08022): every channel of every sample by itself. Throws for
/// one spatial element, where the result would not depend on x.
Tensor instance_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);

}  // namespace norma
