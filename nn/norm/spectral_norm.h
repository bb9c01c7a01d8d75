// Spectral normalization (Miyato, Kataoka, Koyama, Yoshida 2018, arXiv:1802.05957).
#pragma once

#include "nn/norm/reweighted.h"

namespace norma::nn {

struct SpectralNormOptions {
  int n_power_iterations = 1;      // for each call while training; >= 1
  double eps = 1e-12;              // lengths up to this count as 0
  int dim = 0;                     // the axis of the weight that makes the rows of the matrix
  Generator* generator = nullptr;  // of the first weight_u; the thread's default one when null
};

/// A layer whose weight is weight_orig / sigma, sigma = u^T W v the largest singular value of the weight as a
/// matrix W [dim, rest], estimated by power iteration (algorithm 1): v <- W^T u / |W^T u|, u <- W v / |W v|
/// at each training call, kept from call to call; eval uses u and v as they are. Gradients take u and v as
/// constants: dW = (G - <G, W / sigma> u v^T) / sigma. Names are PyTorch's: weight_orig, the buffers weight_u
/// and weight_v, and the layer's other parts under their own. u starts random and has 15 iterations behind it
/// before the first call. A weight whose sigma is at most eps (all zero) is taken as it is. Serves one thread
/// at a time.
class SpectralNorm : public Module {
 public:
  /// Throws for a layer without a weight, for a dim that the weight does not have, for fewer than one
  /// iteration, and for eps < 0 or NaN.
  template <class Layer>
  requires(!std::same_as<Layer, SpectralNorm> &&
           TensorLayer<Layer>) explicit SpectralNorm(Layer layer, const SpectralNormOptions& options = {})
      : SpectralNorm(detail::Reweighted("SpectralNorm", std::move(layer)), options) {}
  Tensor operator()(const Tensor& x);
  /// weight_orig / sigma with u and v as they are, with history.
  Tensor weight() const;
  /// The layer without the parametrization: its weight holds the values of weight().
  AnyLayer folded() const;
  std::string describe() const override;

  Parameter weight_orig;
  Buffer weight_u, weight_v;

  void visit_parts(PartVisitor& visitor) override;
  std::size_t object_size() const override { return sizeof(*this); }

 private:
  SpectralNorm(detail::Reweighted layer, const SpectralNormOptions& options);
  Tensor matrix() const;
  void iterate(int iterations);

  detail::Reweighted layer_;
  SpectralNormOptions options_;
};

}  // namespace norma::nn
