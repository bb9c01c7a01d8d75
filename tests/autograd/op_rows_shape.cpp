#include "tests/autograd/op_table.h"

namespace norma::tests {

std::vector<OpRow> shape_rows() {
  const Sample x = normal({rows, columns}), cube = normal({2, rows, columns}), fixed = normal({4, 6});
  return {
      {"reshape",
       {cube},
       [](Inputs in) {
         return in[0].reshape({in[0].size(1), 2, in[0].size(2)});
       }},
      {.name = "view",
       .inputs = {fixed},
       .op =
           [](Inputs in) {
             return in[0].view({2, -1});
           },
       .any_layout = false},
      {"flatten", {cube}, [](Inputs in) { return in[0].flatten(0, 1); }},
      {"unflatten",
       {fixed},
       [](Inputs in) {
         return in[0].unflatten(1, {2, 3});
       }},
      {"permute",
       {cube},
       [](Inputs in) {
         return in[0].permute({2, 0, 1});
       }},
      {"transpose", {cube}, [](Inputs in) { return in[0].transpose(0, -1); }},
      {"t", {x}, [](Inputs in) { return in[0].t(); }},
      {"squeeze", {normal({rows, 1, columns})}, [](Inputs in) { return in[0].squeeze(1); }},
      {"unsqueeze", {x}, [](Inputs in) { return in[0].unsqueeze(-1); }},
      {"expand",
       {normal({rows, 1})},
       [](Inputs in) {
         return in[0].expand({2, in[0].size(0), 4});
       }},
      {"slice",
       {fixed},
       [](Inputs in) {
         return in[0].slice(1, {1, 6, 2}) * in[0].slice(1, {-3});
       }},
      {"narrow", {fixed}, [](Inputs in) { return in[0].narrow(0, 1, 2); }},
      {"select", {fixed}, [](Inputs in) { return in[0].select(1, -1); }},
      {"index",
       {fixed},
       [](Inputs in) {
         return in[0].index({2, Slice{1, 5}}) * in[0][1].slice(0, {0, 4});
       },
       {"operator[]"}},
      {"split",
       {normal({5, 4})},
       [](Inputs in) {
         const auto parts = in[0].split(2);
         return parts[0] * parts[1] + parts[2];
       }},
      {"chunk",
       {normal({4, 6})},
       [](Inputs in) {
         const auto parts = in[0].chunk(3, 1);
         return parts[0] * parts[1] * parts[2];
       }},
      {"clone", {x}, [](Inputs in) { return in[0].clone(); }},
      {"contiguous", {x}, [](Inputs in) { return in[0].t().contiguous() * 2; }},
      {"cat",
       {x, normal({2, columns}), x},
       [](Inputs in) {
         return cat({in[0], in[1], in[2], in[0]});
       }},
      {"cat last axis",
       {x, normal({rows, 2})},
       [](Inputs in) {
         return cat({in[0], in[1]}, -1);
       }},
      {"stack",
       {x, x},
       [](Inputs in) {
         return stack({in[0], in[1]}, -1) * stack({in[1], in[0]}, 2);
       }},
      {"pad",
       {x},
       [](Inputs in) {
         return pad(in[0], {1, 2, 0, 1}, 3);
       }},
      {"gather", {fixed, indices({4, 3}, 6)}, [](Inputs in) { return in[0].gather(1, in[1]); }},
      {"gather few", {fixed, indices({2, 6}, 4)}, [](Inputs in) { return in[0].gather(0, in[1]); }},
      {"index_select", {fixed, indices({5}, 4)}, [](Inputs in) { return in[0].index_select(0, in[1]); }},
      {"scatter_add",
       {fixed, indices({4, 6}, 3)},
       [](Inputs in) {
         return scatter_add(in[0], 0, in[1], {3, 6});
       }},
      {"embedding",
       {indices({2, rows}, 6), normal({6, columns})},
       [](Inputs in) { return embedding(in[0], in[1]); }},
      {"tril", {x}, [](Inputs in) { return in[0].tril(1); }},
      {"triu", {normal({2, 4, 5})}, [](Inputs in) { return in[0].triu(-1); }},
      {"grad of an index into a leaf", {fixed}, [](Inputs in) { return in[0][0] * in[0][0] + in[0][3]; }},
  };
}

std::vector<OpRow> reduction_rows() {
  const Sample x = normal({rows, columns}), cube = normal({2, rows, columns}), away = apart({2, 3, 4});
  std::vector<OpRow> table = {
      {"sum",
       {cube},
       [](Inputs in) {
         return in[0].sum({0, -1});
       }},
      {"sum all", {x}, [](Inputs in) { return in[0].sum(); }},
      {"sum keep", {x}, [](Inputs in) { return in[0].sum(0, keepdim) * in[0]; }},
      {"mean",
       {cube},
       [](Inputs in) {
         return in[0].mean({1, 2}, keepdim) + in[0].mean();
       }},
      {"amax",
       {away},
       [](Inputs in) {
         return in[0].amax({0, 2});
       }},
      {"max", {away}, [](Inputs in) { return in[0].max() * in[0].max(-1).first.sum(); }},
      {"min", {away}, [](Inputs in) { return in[0].min() * in[0].min(1, keepdim).first; }},
      {"cumsum", {cube}, [](Inputs in) { return in[0].cumsum(1); }},
  };
  const auto add = [&](const char* name, const Sample& sample, std::function<Tensor(Inputs)> op) {
    table.push_back({.name = name, .inputs = {sample}, .op = std::move(op), .row_mean = true});
  };
  add("var", cube, [](Inputs in) { return in[0].var({0, 2}); });
  add("var biased", x, [](Inputs in) { return in[0].var(-1, false, keepdim); });
  add("softmax", x, [](Inputs in) { return softmax(in[0]); });
  add("softmax first axis", cube, [](Inputs in) { return in[0].softmax(0); });
  add("log_softmax", x, [](Inputs in) { return log_softmax(in[0]); });
  add("log_softmax middle axis", cube, [](Inputs in) { return in[0].log_softmax(1); });
  table.push_back({.name = "std",
                   .inputs = {normal({3, 5})},
                   .op = [](Inputs in) { return in[0].std(-1); },
                   .row_mean = true});
  table.push_back(
      {"norm", {normal({3, 5})}, [](Inputs in) { return in[0].norm(-1, keepdim) * in[0].norm(); }});
  table.push_back({.name = "logsumexp",
                   .inputs = {normal({3, 4, 5})},
                   .op =
                       [](Inputs in) {
                         return in[0].logsumexp({0, 2}) * in[0].logsumexp(1, keepdim).sum();
                       },
                   .row_mean = true});
  return table;
}

}  // namespace norma::tests
