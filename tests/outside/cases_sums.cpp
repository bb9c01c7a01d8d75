#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

Tensors both(const std::pair<Tensor, Tensor>& pair) { return {pair.first, pair.second}; }

Tensor attention(const Tensors& in, const CaseOptions& o) {
  SdpaOptions options;
  options.mask = optional_input(in, 3);
  options.causal = o.flag("causal");
  if (o.has("scale")) options.scale = o.number("scale");
  options.cap = o.number("cap", 0);
  return scaled_dot_product_attention(in[0], in[1], in[2], options);
}

std::vector<Row> reduction_rows() {
  return {
      {"sum", [](In in, Opt o) -> Tensors { return {in[0].sum(o.axes(), o.flag("keep"))}; }},
      {"mean", [](In in, Opt o) -> Tensors { return {in[0].mean(o.axes(), o.flag("keep"))}; }},
      {"amax", [](In in, Opt o) -> Tensors { return {in[0].amax(o.axes(), o.flag("keep"))}; }},
      {"norm", [](In in, Opt o) -> Tensors { return {in[0].norm(o.axes(), o.flag("keep"))}; }},
      {"logsumexp", [](In in, Opt o) -> Tensors { return {in[0].logsumexp(o.axes(), o.flag("keep"))}; }},
      {"var",
       [](In in, Opt o) -> Tensors { return {in[0].var(o.axes(), o.flag("unbiased"), o.flag("keep"))}; }},
      {"std",
       [](In in, Opt o) -> Tensors { return {in[0].std(o.axes(), o.flag("unbiased"), o.flag("keep"))}; }},
      {"max",
       [](In in, Opt o) -> Tensors {
         return o.has("axis") ? both(in[0].max(o.axis(), o.flag("keep"))) : Tensors{in[0].max()};
       }},
      {"min",
       [](In in, Opt o) -> Tensors {
         return o.has("axis") ? both(in[0].min(o.axis(), o.flag("keep"))) : Tensors{in[0].min()};
       }},
      {"argmax", [](In in, Opt o) -> Tensors { return {in[0].argmax(o.axis(), o.flag("keep"))}; }},
      {"argmin", [](In in, Opt o) -> Tensors { return {in[0].argmin(o.axis(), o.flag("keep"))}; }},
      {"any", [](In in, Opt) -> Tensors { return {in[0].any()}; }},
      {"all", [](In in, Opt) -> Tensors { return {in[0].all()}; }},
      {"cumsum", [](In in, Opt o) -> Tensors { return {in[0].cumsum(o.axis())}; }},
      {"softmax",
       [](In in, Opt o) -> Tensors {
         return {o.flag("method") ? in[0].softmax(o.axis()) : softmax(in[0], o.axis())};
       }},
      {"log_softmax",
       [](In in, Opt o) -> Tensors {
         return {o.flag("method") ? in[0].log_softmax(o.axis()) : log_softmax(in[0], o.axis())};
       }},
  };
}

std::vector<Row> product_rows() {
  return {
      {"matmul",
       [](In in, Opt o) -> Tensors {
         return {o.flag("method") ? in[0].matmul(in[1]) : matmul(in[0], in[1])};
       }},
      {"linear", [](In in, Opt) -> Tensors { return {linear(in[0], in[1], optional_input(in, 2))}; }},
      {"einsum", [](In in, Opt o) -> Tensors { return {einsum(o.text("equation"), in[0], in[1])}; }},
      {"cross_entropy",
       [](In in, Opt o) -> Tensors {
         return {cross_entropy(in[0], in[1],
                               {.ignore_index = o.integer("ignore_index"),
                                .label_smoothing = o.number("smoothing"),
                                .reduction = o.reduction()})};
       }},
      {"binary_cross_entropy_with_logits",
       [](In in, Opt o) -> Tensors {
         return {binary_cross_entropy_with_logits(in[0], in[1], o.reduction())};
       }},
      {"mse_loss", [](In in, Opt o) -> Tensors { return {mse_loss(in[0], in[1], o.reduction())}; }},
      {"scaled_dot_product_attention", [](In in, Opt o) -> Tensors { return {attention(in, o)}; }},
  };
}

}  // namespace

std::vector<Row> sum_rows() {
  std::vector<Row> all = reduction_rows();
  const std::vector<Row> products = product_rows();
  all.insert(all.end(), products.begin(), products.end());
  return all;
}

}  // namespace norma::tests::outside
