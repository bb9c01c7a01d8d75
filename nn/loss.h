// Losses as modules; the functions are in autograd/ops.h.
#pragma once

#include "autograd/ops.h"
#include "nn/module.h"

namespace norma::nn {

/// logits [.., classes], targets i64 [..].
class CrossEntropyLoss : public Module {
 public:
  explicit CrossEntropyLoss(CrossEntropyOptions options = {}) : options_(options) {}
  Tensor operator()(const Tensor& logits, const Tensor& targets) const {
    return cross_entropy(logits, targets, options_);
  }
  NORMA_PARTS()

 private:
  CrossEntropyOptions options_;
};

/// (input - target)^2
class MSELoss : public Module {
 public:
  explicit MSELoss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  Tensor operator()(const Tensor& input, const Tensor& target) const {
    return mse_loss(input, target, reduction_);
  }
  NORMA_PARTS()

 private:
  Reduction reduction_;
};

/// Binary cross-entropy of sigmoid(logits) and targets in [0, 1].
class BCEWithLogitsLoss : public Module {
 public:
  explicit BCEWithLogitsLoss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  Tensor operator()(const Tensor& logits, const Tensor& targets) const {
    return binary_cross_entropy_with_logits(logits, targets, reduction_);
  }
  NORMA_PARTS()

 private:
  Reduction reduction_;
};

}  // namespace norma::nn
