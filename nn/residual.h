// Residual schemes: how a sublayer F (attention or feed-forward) and its norms enter the stream x of a
// Transformer. One equation each. nn/placement.h puts them together.
#pragma once

#include <functional>
#include <string>

#include "nn/any_layer.h"

namespace norma::nn {

/// The stream between two sublayers: a tensor, or a sum that is not made yet. The sum and the norm that
/// follows it are then one pass over memory, where the norm has such a kernel.
class Stream {
 public:
  Stream(Tensor x) : x_(std::move(x)) {}
  Stream(Tensor x, Tensor branch) : x_(std::move(x)), branch_(std::move(branch)) {}

  /// x, or x + branch.
  Tensor value() const;
  struct Normed {
    Tensor value, normed;
  };
  /// The value and norm(value).
  Normed through(AnyLayer& norm) const;

 private:
  Tensor x_, branch_;
};

using Sublayer = std::function<Tensor(const Tensor&)>;

/// The norms of one sublayer; schemes that need one use `first`.
struct SublayerNorms {
  AnyLayer& first;
  AnyLayer& second;
};

/// A scheme as a value. Users write their own: equation, number of norms, function.
struct Residual {
  std::string equation;  // "x + F(N(x))"
  int norms = 1;         // it needs: 0, 1 or 2
  std::function<Stream(const Stream& x, const SublayerNorms& n, const Sublayer& f)> apply = {};
  /// Methods of the norms, names of make_norm; empty: that of the block.
  std::string first = {}, second = {};

  /// x + F(x)   (He et al. 2015, arXiv:1512.03385)
  static Residual plain();
  /// x + F(N(x))   (Pre-Norm: Xiong et al. 2020, arXiv:2002.04745, Table 1)
  static Residual pre();
  /// N(x + F(x))   (Post-Norm: Vaswani et al. 2017, arXiv:1706.03762)
  static Residual post();
  /// u + F(u) with u = N(x): the norm's result is also the residual (HybridNorm's feed-forward sublayer, Zhuo
  /// et al. 2025, arXiv:2503.04598, eq. 6). The norm is computed once.
  static Residual normed();
  /// x + N(F(x))   (OLMo 2, arXiv:2501.00656)
  static Residual output();
  /// x + N2(F(N1(x)))   (Sandwich-LN: Ding et al. 2021, arXiv:2105.13290; Peri-LN: Kim et al. 2025,
  /// arXiv:2502.02732)
  static Residual sandwich();
  /// N(a x + F(x))   (DeepNorm: Wang et al. 2022, arXiv:2203.00555)
  static Residual scaled_post(double a);
  /// x + F(c N(x))   (LayerNorm scaling with c = 1 / sqrt(layer): Sun et al. 2025, arXiv:2502.05795)
  static Residual scaled_pre(double c);
  /// x + a F(x), a learned number that starts at 0   (ReZero: Bachlechner et al. 2020, arXiv:2003.04887)
  static Residual rezero();
  /// x + s F(N(x)), s a learned vector that starts small   (LayerScale: Touvron et al. 2021,
  /// arXiv:2103.17239)
  static Residual layer_scale();
};

}  // namespace norma::nn
