// The basic ops, one by one: x [rows, d], and y and a row of the same numbers beside it.
#include <map>

#include "autograd/ops.h"
#include "tests/bench/peers/work.h"

namespace norma::peers {
namespace {

struct Inputs {
  Tensor x, y, row, column;  // x: the leaf; column: i64 [rows, d], columns of x
};

using Op = std::function<Tensor(const Inputs&)>;

/// Of any numbers, and of positive ones.
const std::map<std::string, Op>& ops_of_any() {
  static const std::map<std::string, Op> ops{
      {"add", [](const Inputs& i) { return i.x + i.y; }},
      {"mul", [](const Inputs& i) { return i.x * i.y; }},
      {"add_row", [](const Inputs& i) { return i.x + i.row; }},
      {"maximum", [](const Inputs& i) { return maximum(i.x, i.y); }},
      {"where", [](const Inputs& i) { return where(i.y > 0, i.x, i.y); }},
      {"masked_fill", [](const Inputs& i) { return i.x.masked_fill(i.y > 0, -1); }},
      {"clamp", [](const Inputs& i) { return i.x.clamp(-1, 1); }},
      {"exp", [](const Inputs& i) { return i.x.exp(); }},
      {"expm1", [](const Inputs& i) { return expm1(i.x); }},
      {"tanh", [](const Inputs& i) { return i.x.tanh(); }},
      {"sigmoid", [](const Inputs& i) { return i.x.sigmoid(); }},
      {"erf", [](const Inputs& i) { return i.x.erf(); }},
      {"sin", [](const Inputs& i) { return i.x.sin(); }},
      {"abs", [](const Inputs& i) { return i.x.abs(); }},
      {"square", [](const Inputs& i) { return i.x.square(); }},
      {"relu", [](const Inputs& i) { return relu(i.x); }},
      {"gelu", [](const Inputs& i) { return gelu(i.x); }},
      {"silu", [](const Inputs& i) { return silu(i.x); }},
      {"softplus", [](const Inputs& i) { return softplus(i.x); }},
      {"softmax", [](const Inputs& i) { return i.x.softmax(-1); }},
      {"softmax_of_columns", [](const Inputs& i) { return i.x.softmax(0); }},
      {"log_softmax", [](const Inputs& i) { return i.x.log_softmax(-1); }},
      {"logsumexp", [](const Inputs& i) { return i.x.logsumexp(-1); }},
      {"sum", [](const Inputs& i) { return i.x.sum(); }},
      {"sum_of_rows", [](const Inputs& i) { return i.x.sum(-1); }},
      {"sum_of_columns", [](const Inputs& i) { return i.x.sum(0); }},
      {"amax_of_rows", [](const Inputs& i) { return i.x.amax(-1); }},
      {"argmax_of_rows", [](const Inputs& i) { return i.x.argmax(-1); }},
      {"var_of_rows", [](const Inputs& i) { return i.x.var(-1); }},
      {"norm_of_rows", [](const Inputs& i) { return i.x.norm(-1); }},
      {"cumsum", [](const Inputs& i) { return i.x.cumsum(-1); }},
      {"transposed", [](const Inputs& i) { return i.x.t().contiguous(); }},
      {"cat",
       [](const Inputs& i) {
         return cat({i.x, i.y}, 1);
       }},
      {"gather", [](const Inputs& i) { return i.x.gather(1, i.column); }},
      {"index_select", [](const Inputs& i) { return i.x.index_select(1, i.column.select(0, 0)); }},
      {"times_vector", [](const Inputs& i) { return matmul(i.x, i.row.unsqueeze(1)); }},
      {"vector_times", [](const Inputs& i) { return matmul(i.y.select(1, 0).unsqueeze(0), i.x); }},
      {"mse_loss", [](const Inputs& i) { return mse_loss(i.x, i.y); }},
      {"bce_with_logits",
       [](const Inputs& i) { return binary_cross_entropy_with_logits(i.x, i.y.sigmoid().detach()); }},
  };
  return ops;
}

const std::map<std::string, Op>& ops_of_positive() {
  static const std::map<std::string, Op> ops{
      {"div", [](const Inputs& i) { return i.y / i.x; }},
      {"log", [](const Inputs& i) { return i.x.log(); }},
      {"log1p", [](const Inputs& i) { return log1p(i.x); }},
      {"sqrt", [](const Inputs& i) { return i.x.sqrt(); }},
      {"rsqrt", [](const Inputs& i) { return i.x.rsqrt(); }},
      {"pow", [](const Inputs& i) { return i.x.pow(2.5); }},
  };
  return ops;
}

}  // namespace

/// basic_NAME of the tables above.
Work make_basic(const std::string& op, const Extents& e) {
  if (!op.starts_with("basic_")) return {};
  const std::string name = op.substr(6);
  const auto any = ops_of_any().find(name), positive = ops_of_positive().find(name);
  const bool is_any = any != ops_of_any().end();
  if (!is_any && positive == ops_of_positive().end()) return {};
  const Inputs inputs{leaf("x", {e[0], e[1]}, is_any ? 3 : 1, is_any ? 0 : 1.5F),
                      numbers("y", {e[0], e[1]}, 2), numbers("row", {e[1]}),
                      indices("column", {e[0], e[1]}, e[1])};
  const Op f = is_any ? any->second : positive->second;
  if (f(inputs).requires_grad()) return forward_and_backward({{"x", inputs.x}}, [=] { return f(inputs); });
  return {[=] { f(inputs); }, [=] { return nn::StateDict{{"y", f(inputs).to(f32)}}; }};
}

}  // namespace norma::peers
