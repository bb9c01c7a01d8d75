// A table of vectors, looked up by index.
#pragma once

#include "nn/module.h"

namespace norma::nn {

/// index (i64, any shape) -> [index.., embedding_dim]. weight [num_embeddings, embedding_dim] starts N(0, 1).
/// Throws for extents below 1, and for indices outside [0, num_embeddings) when called.
class Embedding : public Module {
 public:
  Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim);
  Tensor operator()(const Tensor& index) const;
  std::string describe() const override;

  Parameter weight;
  NORMA_PARTS(weight)
};

}  // namespace norma::nn
