// Gradient clipping by the global norm (Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063).
#pragma once

#include <vector>

#include "nn/module.h"

namespace norma::nn {

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), in place, where norm is the 2-norm of all of
/// them together, summed in f64; returns norm, f64 [], on the gradients' device. Parameters without gradient
/// count nothing. When norm is not finite, throws Error naming the first parameter to blame if
/// error_if_nonfinite, and else leaves the gradients as they are. max_norm must be >= 0; infinity only
/// measures. Does not wait for the device unless error_if_nonfinite.
Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm,
                       bool error_if_nonfinite = false);
/// The same, with names for the message.
Tensor clip_grad_norm_(const std::vector<NamedTensor>& parameters, double max_norm,
                       bool error_if_nonfinite = false);

}  // namespace norma::nn
