// Rotary position embedding (Su et al. 2021, RoFormer, arXiv:2104.09864, eq. 34).
#pragma once

#include "autograd/tensor.h"

namespace norma::nn {

/// Cosines and sines of position * base^(-2i / d), each [length, d / 2], for positions offset .. offset +
/// length - 1. Angles are computed in f64.
struct RotaryTable {
  Tensor cos, sin;
};

/// Throws unless d is even and > 0 and base > 0.
RotaryTable rotary_table(std::int64_t length, std::int64_t d, std::int64_t offset = 0, double base = 10000,
                         DType dtype = f32, Device device = cpu);

/// x [.., length, d] with each pair of features rotated by its angle, so that q . k depends on the difference
/// of their positions only. Pair i is (x_i, x_{i + d/2}), the halves layout of GPT-NeoX and LLaMA; the paper
/// pairs (x_2i, x_2i+1), which is the same up to one fixed order of the features of q and k.
Tensor rotate(const Tensor& x, const RotaryTable& table);

}  // namespace norma::nn
