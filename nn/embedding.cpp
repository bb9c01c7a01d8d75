#include "nn/embedding.h"

#include "autograd/ops.h"
#include "nn/init.h"

namespace norma::nn {

Embedding::Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim) {
  NORMA_CHECK(num_embeddings > 0 && embedding_dim > 0,
              "Embedding: needs num_embeddings > 0 and embedding_dim > 0, got ", num_embeddings, " and ",
              embedding_dim);
  weight = Parameter(init::normal_(empty({num_embeddings, embedding_dim})));
}

Tensor Embedding::operator()(const Tensor& index) const { return embedding(index, weight); }

std::string Embedding::describe() const {
  return norma::detail::concat("num_embeddings=", weight.size(0), ", embedding_dim=", weight.size(1));
}

}  // namespace norma::nn
