// Initialization: fills a tensor in place and returns it. Random ones draw from the generator given, or the
// thread's default one. Nothing is recorded.
#pragma once

#include <string_view>

#include "autograd/tensor.h"

namespace norma::nn::init {

/// Which extent of a weight [out, in, ..] the variance is scaled by: fan_in = in * .., fan_out = out * ..
enum class Fan : std::uint8_t { in, out };

struct KaimingOptions {
  double a = 0;  // negative slope of leaky_relu
  Fan mode = Fan::in;
  std::string_view nonlinearity = "leaky_relu";
  Generator* generator = nullptr;
};

/// The gain that keeps the variance through a nonlinearity: "linear", "conv", "sigmoid", "tanh" (5/3), "relu"
/// (sqrt 2), "leaky_relu" (sqrt(2 / (1 + slope^2))), "selu" (3/4). Throws for other names.
double calculate_gain(std::string_view nonlinearity, double slope = 0.01);

const Tensor& zeros_(const Tensor& x);
const Tensor& ones_(const Tensor& x);
const Tensor& constant_(const Tensor& x, double value);
/// U[low, high)
const Tensor& uniform_(const Tensor& x, double low = 0, double high = 1, Generator* generator = nullptr);
/// N(mean, std^2); std >= 0
const Tensor& normal_(const Tensor& x, double mean = 0, double std = 1, Generator* generator = nullptr);
/// N(mean, std^2) cut to [low, high]; std > 0, low < high.
const Tensor& trunc_normal_(const Tensor& x, double mean = 0, double std = 1, double low = -2,
                            double high = 2, Generator* generator = nullptr);

// For weights of rank >= 2.
/// Glorot & Bengio 2010: U(+-gain sqrt(6 / (fan_in + fan_out))), N(0, gain^2 2 / (fan_in + fan_out)).
const Tensor& xavier_uniform_(const Tensor& weight, double gain = 1, Generator* generator = nullptr);
const Tensor& xavier_normal_(const Tensor& weight, double gain = 1, Generator* generator = nullptr);
/// He et al. 2015 (arXiv:1502.01852): variance gain^2 / fan.
const Tensor& kaiming_uniform_(const Tensor& weight, KaimingOptions options = {});
const Tensor& kaiming_normal_(const Tensor& weight, KaimingOptions options = {});
/// Saxe et al. 2013 (arXiv:1312.6120): a random matrix [out, in * ..] with orthonormal rows (or columns, when
/// there are more rows than columns), times gain.
const Tensor& orthogonal_(const Tensor& weight, double gain = 1, Generator* generator = nullptr);

}  // namespace norma::nn::init
