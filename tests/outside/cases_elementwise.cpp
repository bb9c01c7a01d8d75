#include "tests/outside/cases.h"

namespace norma::tests::outside {
namespace {

using In = Tensors&;
using Opt = const CaseOptions&;

/// A call of two tensors, of a tensor and a number, or of a number and a tensor.
template <class Call>
Tensors in_any_form(const Tensors& in, const CaseOptions& o, Call call) {
  const std::string& form = o.text("form");
  if (form == "tensors") return {call(in[0], in[1])};
  return {form == "scalar" ? call(in[0], o.number("s")) : call(o.number("s"), in[0])};
}
template <class Call>
Tensors compared(const Tensors& in, const CaseOptions& o, Call call) {
  return {o.text("form") == "tensors" ? call(in[0], in[1]) : call(in[0], o.number("s"))};
}

/// An in-place call on a recorded copy of the first input.
template <class Call>
Tensors in_place(const Tensors& in, const CaseOptions& o, Call call) {
  const Tensor target = in[0].clone();
  if (o.text("form") == "tensors") {
    call(target, in[1]);
  } else {
    call(target, o.number("s"));
  }
  return {target};
}
template <class Call>
Tensors in_place_of_tensors(const Tensors& in, Call call) {
  const Tensor target = in[0].clone();
  call(target, in[1]);
  return {target};
}

std::vector<Row> unary_rows() {
  return {
      {"exp", [](In in, Opt) -> Tensors { return {in[0].exp()}; }},
      {"log", [](In in, Opt) -> Tensors { return {in[0].log()}; }},
      {"sqrt", [](In in, Opt) -> Tensors { return {in[0].sqrt()}; }},
      {"rsqrt", [](In in, Opt) -> Tensors { return {in[0].rsqrt()}; }},
      {"tanh", [](In in, Opt) -> Tensors { return {in[0].tanh()}; }},
      {"erf", [](In in, Opt) -> Tensors { return {in[0].erf()}; }},
      {"sigmoid", [](In in, Opt) -> Tensors { return {in[0].sigmoid()}; }},
      {"relu", [](In in, Opt o) -> Tensors { return {o.flag("method") ? in[0].relu() : relu(in[0])}; }},
      {"abs", [](In in, Opt) -> Tensors { return {in[0].abs()}; }},
      {"sign", [](In in, Opt) -> Tensors { return {in[0].sign()}; }},
      {"square", [](In in, Opt) -> Tensors { return {in[0].square()}; }},
      {"reciprocal", [](In in, Opt) -> Tensors { return {in[0].reciprocal()}; }},
      {"sin", [](In in, Opt) -> Tensors { return {in[0].sin()}; }},
      {"cos", [](In in, Opt) -> Tensors { return {in[0].cos()}; }},
      {"floor", [](In in, Opt) -> Tensors { return {floor(in[0])}; }},
      {"expm1", [](In in, Opt) -> Tensors { return {expm1(in[0])}; }},
      {"log1p", [](In in, Opt) -> Tensors { return {log1p(in[0])}; }},
      {"silu", [](In in, Opt) -> Tensors { return {silu(in[0])}; }},
      {"clone", [](In in, Opt) -> Tensors { return {in[0].clone()}; }},
      {"contiguous", [](In in, Opt) -> Tensors { return {in[0].contiguous()}; }},
      {"detach", [](In in, Opt) -> Tensors { return {in[0].detach()}; }},
      {"zeros_like", [](In in, Opt) -> Tensors { return {zeros_like(in[0])}; }},
      {"ones_like", [](In in, Opt) -> Tensors { return {ones_like(in[0])}; }},
      {"softplus", [](In in, Opt) -> Tensors { return {softplus(in[0])}; }},
      {"gelu",
       [](In in, Opt o) -> Tensors {
         return {gelu(in[0], o.text("form") == "erf" ? Gelu::erf : Gelu::tanh)};
       }},
      {"softcap", [](In in, Opt o) -> Tensors { return {softcap(in[0], o.number("cap"))}; }},
      {"affine", [](In in, Opt o) -> Tensors { return {affine(in[0], o.number("a"), o.number("b"))}; }},
      {"clamp", [](In in, Opt o) -> Tensors { return {in[0].clamp(o.number("low"), o.number("high"))}; }},
      {"isnan", [](In in, Opt) -> Tensors { return {in[0].isnan()}; }},
      {"isfinite", [](In in, Opt) -> Tensors { return {in[0].isfinite()}; }},
      {"logical_not", [](In in, Opt) -> Tensors { return {logical_not(in[0])}; }},
      {"to", [](In in, Opt o) -> Tensors { return {in[0].to(o.dtype()).to(f64)}; }},
  };
}

std::vector<Row> binary_rows() {
  return {
      {"add", [](In in, Opt) -> Tensors { return {add(in[0], in[1])}; }},
      {"sub", [](In in, Opt) -> Tensors { return {sub(in[0], in[1])}; }},
      {"mul", [](In in, Opt) -> Tensors { return {mul(in[0], in[1])}; }},
      {"div", [](In in, Opt) -> Tensors { return {div(in[0], in[1])}; }},
      {"maximum", [](In in, Opt) -> Tensors { return {maximum(in[0], in[1])}; }},
      {"minimum", [](In in, Opt) -> Tensors { return {minimum(in[0], in[1])}; }},
      {"pow",
       [](In in, Opt o) -> Tensors {
         if (o.text("form") == "number") return {in[0].pow(o.number("p"))};
         return {o.flag("method") ? in[0].pow(in[1]) : pow(in[0], in[1])};
       }},
      {"where", [](In in, Opt) -> Tensors { return {where(in[0], in[1], in[2])}; }},
      {"masked_fill", [](In in, Opt o) -> Tensors { return {in[0].masked_fill(in[1], o.number("value"))}; }},
      {"logical_and", [](In in, Opt) -> Tensors { return {logical_and(in[0], in[1])}; }},
      {"logical_or", [](In in, Opt) -> Tensors { return {logical_or(in[0], in[1])}; }},
  };
}

std::vector<Row> operator_rows() {
  return {
      {"operator+",
       [](In in, Opt o) { return in_any_form(in, o, [](const auto& a, const auto& b) { return a + b; }); }},
      {"operator-",
       [](In in, Opt o) -> Tensors {
         if (o.text("form") == "unary") return {-in[0]};
         return in_any_form(in, o, [](const auto& a, const auto& b) { return a - b; });
       }},
      {"operator*",
       [](In in, Opt o) { return in_any_form(in, o, [](const auto& a, const auto& b) { return a * b; }); }},
      {"operator/",
       [](In in, Opt o) { return in_any_form(in, o, [](const auto& a, const auto& b) { return a / b; }); }},
      {"operator==",
       [](In in, Opt o) { return compared(in, o, [](const Tensor& a, const auto& b) { return a == b; }); }},
      {"operator!=",
       [](In in, Opt o) { return compared(in, o, [](const Tensor& a, const auto& b) { return a != b; }); }},
      {"operator<",
       [](In in, Opt o) { return compared(in, o, [](const Tensor& a, const auto& b) { return a < b; }); }},
      {"operator<=",
       [](In in, Opt o) { return compared(in, o, [](const Tensor& a, const auto& b) { return a <= b; }); }},
      {"operator>",
       [](In in, Opt o) { return compared(in, o, [](const Tensor& a, const auto& b) { return a > b; }); }},
      {"operator>=",
       [](In in, Opt o) { return compared(in, o, [](const Tensor& a, const auto& b) { return a >= b; }); }},
  };
}

std::vector<Row> in_place_rows() {
  return {
      {"add_",
       [](In in, Opt o) { return in_place(in, o, [](const Tensor& x, const auto& y) { x.add_(y); }); }},
      {"mul_",
       [](In in, Opt o) { return in_place(in, o, [](const Tensor& x, const auto& y) { x.mul_(y); }); }},
      {"sub_",
       [](In in, Opt) {
         return in_place_of_tensors(in, [](const Tensor& x, const Tensor& y) { x.sub_(y); });
       }},
      {"div_",
       [](In in, Opt) {
         return in_place_of_tensors(in, [](const Tensor& x, const Tensor& y) { x.div_(y); });
       }},
      {"copy_",
       [](In in, Opt) {
         return in_place_of_tensors(in, [](const Tensor& x, const Tensor& y) { x.copy_(y); });
       }},
      {"operator+=",
       [](In in, Opt o) { return in_place(in, o, [](const Tensor& x, const auto& y) { x += y; }); }},
      {"operator-=",
       [](In in, Opt o) { return in_place(in, o, [](const Tensor& x, const auto& y) { x -= y; }); }},
      {"operator*=",
       [](In in, Opt o) { return in_place(in, o, [](const Tensor& x, const auto& y) { x *= y; }); }},
      {"operator/=",
       [](In in, Opt o) { return in_place(in, o, [](const Tensor& x, const auto& y) { x /= y; }); }},
      {"fill_",
       [](In in, Opt o) -> Tensors {
         const Tensor target = in[0].clone();
         target.fill_(o.number("value"));
         return {target};
       }},
      {"zero_",
       [](In in, Opt) -> Tensors {
         const Tensor target = in[0].clone();
         target.zero_();
         return {target};
       }},
  };
}

}  // namespace

std::vector<Row> elementwise_rows() {
  std::vector<Row> all = unary_rows();
  for (auto* const part : {binary_rows, operator_rows, in_place_rows}) {
    const std::vector<Row> some = part();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace norma::tests::outside
