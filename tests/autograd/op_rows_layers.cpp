#include "tests/autograd/op_table.h"

namespace norma::tests {

std::vector<OpRow> product_rows() {
  const Sample x = normal({rows, columns});
  return {
      {"matmul", {x, normal({columns, 4})}, [](Inputs in) { return matmul(in[0], in[1]); }},
      {"matmul method", {x}, [](Inputs in) { return in[0].matmul(in[0].t()); }},
      {"matmul batched",
       {normal({2, rows, columns}), normal({2, columns, 4})},
       [](Inputs in) { return matmul(in[0], in[1]); }},
      {"matmul of a batch and a matrix",
       {normal({2, rows, columns}), normal({columns, 4})},
       [](Inputs in) { return matmul(in[0], in[1]); }},
      {"matmul broadcast batch",
       {normal({2, 1, rows, columns}), normal({3, columns, 2})},
       [](Inputs in) { return matmul(in[0], in[1]); }},
      {"matmul vectors",
       {normal({columns}), normal({columns})},
       [](Inputs in) { return matmul(in[0], in[1]); }},
      {"matmul matrix vector",
       {normal({2, rows, columns}), normal({columns})},
       [](Inputs in) { return matmul(in[0], in[1]); }},
      {"matmul vector matrix",
       {normal({columns}), normal({columns, rows})},
       [](Inputs in) { return matmul(in[0], in[1]); }},
      {"linear",
       {x, normal({4, columns}), optional(normal({4}))},
       [](Inputs in) { return linear(in[0], in[1], in[2]); }},
      {"linear of three axes",
       {normal({2, rows, columns}), normal({4, columns}), optional(normal({4}))},
       [](Inputs in) { return linear(in[0], in[1], in[2]); }},
      {"linear of a vector",
       {normal({columns}), normal({4, columns})},
       [](Inputs in) { return linear(in[0], in[1]); }},
      {"einsum",
       {normal({2, rows, columns}), normal({2, columns, 3})},
       [](Inputs in) { return einsum("bij,bjk->bik", in[0], in[1]); }},
      {"einsum implicit",
       {x, normal({columns, 2})},
       [](Inputs in) { return einsum("ij, jk", in[0], in[1]); }},
      {"einsum sums and reorders",
       {normal({2, rows, 4, 3}), normal({columns, 3, 2})},
       [](Inputs in) { return einsum("bixk,jkb->jbi", in[0], in[1]); }},
      {"einsum outer",
       {normal({rows}), normal({columns})},
       [](Inputs in) { return einsum("i,j->ji", in[0], in[1]); }},
      {"einsum dot", {x, x}, [](Inputs in) { return einsum("ij,ij->", in[0], in[1]); }},
  };
}

namespace {

OpRow attention(const char* name, std::vector<Sample> inputs, SdpaOptions options) {
  return {.name = name, .inputs = std::move(inputs), .op = [options](Inputs in) {
            SdpaOptions with_mask = options;
            if (in.size() > 3) with_mask.mask = in[3];
            return scaled_dot_product_attention(in[0], in[1], in[2], with_mask);
          }};
}

OpRow norm(const char* name, std::vector<Sample> inputs, std::function<Tensor(Inputs)> op) {
  return {.name = name, .inputs = std::move(inputs), .op = std::move(op), .row_mean = true};
}

std::vector<OpRow> attention_rows() {
  const Sample q = normal({2, 4, 5, 3}), k = normal({2, 2, 6, 3}), v = normal({2, 2, 6, 4});
  return {
      attention("scaled_dot_product_attention",
                {normal({2, rows, 3}), normal({2, columns, 3}), normal({2, columns, 2})}, {}),
      attention("attention grouped", {q, k, v}, {.scale = 0.7}),
      attention("attention causal", {q, k, v}, {.causal = true}),
      attention("attention capped", {q, k, v}, {.causal = true, .cap = 1.5}),
      attention("attention boolean mask", {q, k, v, mask({5, 6})}, {}),
      attention("attention boolean mask, causal", {q, k, v, mask({2, 1, 1, 6})}, {.causal = true}),
      attention("attention added mask", {q, k, v, normal({4, 5, 6})}, {.cap = 2}),
      {"attention, one tensor",
       {normal({2, 3, 4})},
       [](Inputs in) { return scaled_dot_product_attention(in[0], in[0], in[0]); }},
      {"attention five axes",
       {normal({2, 1, 2, 3, 4}), normal({2, 1, 2, 5, 4})},
       [](Inputs in) { return scaled_dot_product_attention(in[0], in[1], in[1]); }},
      {"attention dropout",
       {q, k, v},
       [](Inputs in) {
         manual_seed(3);
         return scaled_dot_product_attention(in[0], in[1], in[2], {.causal = true, .dropout = 0.3});
       }},
  };
}

std::vector<OpRow> loss_rows() {
  const Sample logits = normal({rows, columns}), targets = indices({rows}, columns);
  const auto cross = [](const char* name, const Sample& input, const Sample& target,
                        CrossEntropyOptions options) {
    return norm(name, {input, target}, [options](Inputs in) { return cross_entropy(in[0], in[1], options); });
  };
  return {
      cross("cross_entropy", logits, targets, {}),
      cross("cross_entropy smooth", logits, targets, {.label_smoothing = 0.2, .reduction = Reduction::none}),
      cross("cross_entropy ignore", normal({4, 5}), indices({4}, 5),
            {.ignore_index = 2, .reduction = Reduction::sum}),
      cross("cross_entropy ignore, mean", normal({2, 4, 3}), indices({2, 4}, 3), {.ignore_index = 1}),
      {"binary_cross_entropy_with_logits",
       {logits, positive({rows, columns})},
       [](Inputs in) { return binary_cross_entropy_with_logits(in[0], in[1]); }},
      {"binary_cross_entropy_with_logits none",
       {logits, positive({rows, columns})},
       [](Inputs in) { return binary_cross_entropy_with_logits(in[0], in[1], Reduction::none); }},
      {"mse_loss", {logits, logits}, [](Inputs in) { return mse_loss(in[0], in[1]); }},
      {"mse_loss sum", {logits, logits}, [](Inputs in) { return mse_loss(in[0], in[1], Reduction::sum); }},
  };
}

}  // namespace

std::vector<OpRow> layer_rows() {
  std::vector<OpRow> table;
  for (OpRow& row : attention_rows()) table.push_back(std::move(row));
  for (OpRow& row : loss_rows()) table.push_back(std::move(row));
  return table;
}

}  // namespace norma::tests
