// Einstein summation of two operands: sums, axis orders and one batched matrix product.
#include <algorithm>
#include <iterator>
#include <string>

#include "autograd/ops.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

struct Equation {
  std::string a, b, out;
};

bool has(const std::string& labels, char label) { return labels.find(label) != std::string::npos; }

void check_labels(std::string_view equation, const std::string& labels) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    NORMA_CHECK((labels[i] >= 'a' && labels[i] <= 'z') || (labels[i] >= 'A' && labels[i] <= 'Z'),
                "einsum: indices must be letters, got '", std::string_view(&labels[i], 1), "' in \"",
                equation, "\"");
    NORMA_CHECK(labels.find(labels[i], i + 1) == std::string::npos, "einsum: index '",
                std::string_view(&labels[i], 1), "' is repeated inside one operand or the output of \"",
                equation, "\"");
  }
}

/// Without "->" the output holds the indices that occur once, in alphabetical order.
Equation parse(std::string_view equation) {
  std::string text;
  std::copy_if(equation.begin(), equation.end(), std::back_inserter(text), [](char c) { return c != ' '; });
  const std::size_t arrow = text.find("->");
  const std::string operands = text.substr(0, arrow);
  const std::size_t comma = operands.find(',');
  NORMA_CHECK(comma != std::string::npos, "einsum: needs two operands divided by a comma, got \"", equation,
              "\"");
  Equation result{operands.substr(0, comma), operands.substr(comma + 1), ""};
  check_labels(equation, result.a);
  check_labels(equation, result.b);
  if (arrow != std::string::npos) {
    result.out = text.substr(arrow + 2);
  } else {
    for (const char label : result.a + result.b) {
      if (has(result.a, label) != has(result.b, label)) result.out += label;
    }
    std::sort(result.out.begin(), result.out.end());
  }
  check_labels(equation, result.out);
  for (const char label : result.out) {
    NORMA_CHECK(has(result.a, label) || has(result.b, label), "einsum: output index '",
                std::string_view(&label, 1), "' is in neither operand of \"", equation, "\"");
  }
  return result;
}

void check_operand(std::string_view equation, const char* name, const Tensor& x, const std::string& labels) {
  detail::check_floating("einsum", name, x);
  NORMA_CHECK(static_cast<std::size_t>(x.dim()) == labels.size(), "einsum: operand ", name, " of \"",
              equation, "\" must have ", labels.size(), " axes, got shape ", x.shape());
}

/// Sums over the indices that stand neither in the other operand nor in the output.
Tensor sum_unshared(Tensor x, std::string& labels, const std::string& other, const std::string& out) {
  for (std::size_t i = labels.size(); i-- > 0;) {
    if (has(other, labels[i]) || has(out, labels[i])) continue;
    x = x.sum(static_cast<int>(i));
    labels.erase(i, 1);
  }
  return x;
}

Tensor in_order(const Tensor& x, const std::string& labels, const std::string& order) {
  std::vector<int> axes;
  for (const char label : order) axes.push_back(static_cast<int>(labels.find(label)));
  return axes.empty() ? x : x.permute(axes);
}

/// The indices of both operands by their part in the product.
struct Roles {
  explicit Roles(const Equation& e) {
    for (const char label : e.a) {
      if (has(e.b, label)) {
        (has(e.out, label) ? batch : contracted) += label;
      } else if (has(e.out, label)) {
        rows += label;
      }
    }
    for (const char label : e.b) {
      if (!has(e.a, label) && has(e.out, label)) columns += label;
    }
  }
  std::string batch, contracted, rows, columns;
};

/// Extents of the indices.
class Extents {
 public:
  Extents(std::string_view equation, const Equation& e, const Tensor& a, const Tensor& b)
      : e_(e), a_(a), b_(b) {
    for (std::size_t i = 0; i < e.b.size(); ++i) {
      NORMA_CHECK((*this)[e.b[i]] == b.size(static_cast<int>(i)), "einsum: index '",
                  std::string_view(&e.b[i], 1), "' of \"", equation, "\" has two extents, in a ", a.shape(),
                  " and in b ", b.shape());
    }
  }
  std::int64_t operator[](char label) const {
    return has(e_.a, label) ? a_.size(static_cast<int>(e_.a.find(label)))
                            : b_.size(static_cast<int>(e_.b.find(label)));
  }
  std::int64_t product(const std::string& labels) const {
    std::int64_t n = 1;
    for (const char label : labels) n *= (*this)[label];
    return n;
  }

 private:
  const Equation& e_;
  const Tensor &a_, &b_;
};

}  // namespace

Tensor einsum(std::string_view equation, const Tensor& a, const Tensor& b) {
  const Equation e = parse(equation);
  check_operand(equation, "a", a, e.a);
  check_operand(equation, "b", b, e.b);
  detail::check_like("einsum", "b", b, a);
  const Extents extents(equation, e, a, b);
  const Roles roles(e);
  const std::int64_t count = extents.product(roles.batch), k = extents.product(roles.contracted);
  const std::int64_t m = extents.product(roles.rows), n = extents.product(roles.columns);

  std::string a_labels = e.a, b_labels = e.b;
  const Tensor a_summed = sum_unshared(a, a_labels, e.b, e.out);
  const Tensor b_summed = sum_unshared(b, b_labels, e.a, e.out);
  const Tensor left = in_order(a_summed, a_labels, roles.batch + roles.rows + roles.contracted);
  const Tensor right = in_order(b_summed, b_labels, roles.batch + roles.contracted + roles.columns);
  const Tensor y = matmul(left.reshape({count, m, k}), right.reshape({count, k, n}));

  const std::string order = roles.batch + roles.rows + roles.columns;
  std::vector<std::int64_t> shape;
  for (const char label : order) shape.push_back(extents[label]);
  return in_order(y.reshape(shape), order, e.out);
}

}  // namespace norma
