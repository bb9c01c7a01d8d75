#include "tests/autograd/op_table.h"

namespace norma::tests {

std::vector<OpRow> elementwise_rows() {
  const Sample x = normal({rows, columns}), away = apart({rows, columns}), plus = positive({rows, columns});
  const Sample row = normal({columns}), column = normal({rows, 1});
  return {
      {"add", {x, x}, [](Inputs in) { return add(in[0], in[1]); }},
      {"add broadcast", {x, row}, [](Inputs in) { return in[0] + in[1]; }, {"operator+"}},
      {"add to itself", {x}, [](Inputs in) { return in[0] + in[0]; }},
      {"add scalar", {x}, [](Inputs in) { return (in[0] + 2) * (3 + in[0]); }},
      {"sub", {x, column}, [](Inputs in) { return sub(in[0], in[1]); }},
      {"sub scalar", {x, x}, [](Inputs in) { return (in[0] - 2) * (1 - in[1]) - in[1]; }, {"operator-"}},
      {"mul", {x, x}, [](Inputs in) { return mul(in[0], in[1]); }},
      {"mul broadcast", {x, column, row}, [](Inputs in) { return in[0] * in[1] * in[2]; }, {"operator*"}},
      {"mul by itself", {x}, [](Inputs in) { return in[0] * in[0]; }},
      {"mul scalar", {x}, [](Inputs in) { return 2 * in[0] * -3; }},
      {"div", {x, plus}, [](Inputs in) { return div(in[0], in[1]); }},
      {"div broadcast", {row, plus}, [](Inputs in) { return in[0] / in[1]; }, {"operator/"}},
      {"div scalar", {plus}, [](Inputs in) { return in[0] / 4 + 3 / in[0]; }},
      {"pow", {plus, x}, [](Inputs in) { return pow(in[0], in[1]); }},
      {"pow scalar", {plus}, [](Inputs in) { return in[0].pow(2.5) + in[0].pow(-1); }},
      {"pow whole",
       {away},
       [](Inputs in) { return in[0].pow(3) + in[0].pow(1) + in[0].pow(0) + in[0].pow(2); }},
      {"pow method", {plus, x}, [](Inputs in) { return in[0].pow(in[1]); }},
      {"maximum", {away, away}, [](Inputs in) { return maximum(in[0], in[1]); }},
      {"minimum", {away, apart({columns})}, [](Inputs in) { return minimum(in[0], in[1]); }},
      {"affine", {x}, [](Inputs in) { return affine(in[0], -2, 0.5) + affine(in[0], 1, 3); }},
      {"where", {mask({rows, columns}), x, row}, [](Inputs in) { return where(in[0], in[1], in[2]); }},
      {"floor", {away, x}, [](Inputs in) { return floor(in[0]) + in[1]; }},
      {"sign", {away, x}, [](Inputs in) { return in[0].sign() * in[1]; }},
      {"expm1", {x}, [](Inputs in) { return expm1(in[0]); }},
      {"log1p", {plus}, [](Inputs in) { return log1p(in[0]); }},
      {"neg", {x}, [](Inputs in) { return -in[0]; }},
      {"exp", {x}, [](Inputs in) { return in[0].exp(); }},
      {"log", {plus}, [](Inputs in) { return in[0].log(); }},
      {"sqrt", {plus}, [](Inputs in) { return in[0].sqrt(); }},
      {"rsqrt", {plus}, [](Inputs in) { return in[0].rsqrt(); }},
      {"tanh", {x}, [](Inputs in) { return in[0].tanh(); }},
      {"erf", {x}, [](Inputs in) { return in[0].erf(); }},
      {"sigmoid", {x}, [](Inputs in) { return in[0].sigmoid(); }},
      {"abs", {away}, [](Inputs in) { return in[0].abs(); }},
      {"square", {x}, [](Inputs in) { return in[0].square(); }},
      {"reciprocal", {plus}, [](Inputs in) { return in[0].reciprocal(); }},
      {"sin", {x}, [](Inputs in) { return in[0].sin(); }},
      {"cos", {x}, [](Inputs in) { return in[0].cos(); }},
      {"clamp", {away}, [](Inputs in) { return in[0].clamp(-0.8, 0.9); }},
      {"masked_fill", {x, mask({columns})}, [](Inputs in) { return in[0].masked_fill(in[1], -2); }},
      {"relu", {away}, [](Inputs in) { return relu(in[0]) * in[0].relu(); }},
      {"gelu", {x}, [](Inputs in) { return gelu(in[0]); }},
      {"gelu tanh", {x}, [](Inputs in) { return gelu(in[0], Gelu::tanh); }},
      {"silu", {x}, [](Inputs in) { return silu(in[0]); }},
      {"softplus", {x}, [](Inputs in) { return softplus(in[0] * 3); }},
      {"softcap", {x}, [](Inputs in) { return softcap(in[0], 1.5); }},
      {"dropout",
       {x},
       [](Inputs in) {
         Generator generator(5);
         return dropout(in[0], 0.4, true, &generator);
       }},
      {"add_",
       {x, row},
       [](Inputs in) {
         Tensor y = in[0] * 2;
         return y.add_(in[1]).add_(0.5) * y;
       }},
      {"sub_", {x, row}, [](Inputs in) { return (in[0] * 2).sub_(in[1]); }},
      {"mul_", {x, row}, [](Inputs in) { return (in[0] + 1).mul_(in[1]).mul_(3); }},
      {"div_", {x, positive({columns})}, [](Inputs in) { return (in[0] + 1).div_(in[1]); }},
      {"operators in place",
       {x, plus},
       [](Inputs in) {
         const Tensor y = in[0] * 1;
         y += in[1];
         y -= in[0] * in[1];
         y *= in[1];
         y /= in[1] * 2;
         y += 1;
         y -= 3;
         y *= 2;
         y /= 5;
         return y * in[0];
       },
       {"operator+=", "operator-=", "operator*=", "operator/="}},
      {"copy_", {x, row}, [](Inputs in) { return (in[0] * 2).copy_(in[1] * 3) * in[0]; }},
      {"fill_", {x}, [](Inputs in) { return (in[0] * 2).fill_(3) * in[0] + (in[0] * 2).zero_(); }, {"zero_"}},
  };
}

}  // namespace norma::tests
