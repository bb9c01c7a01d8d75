// Rows of a table.
#include "autograd/fused.h"
#include "autograd/ops.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

// index: [rows]   table: [entries, d]   y: [rows, d]
struct EmbeddingOp {
  static constexpr const char* name = "embedding";

  Tensor definition(const Tensor& index, const Tensor& table) const {
    const std::int64_t rows = index.numel();
    return table.gather(0, index.reshape({rows, 1}).expand(Shape{rows, table.size(1)}));
  }
  std::optional<Array> forward(Kept&, const Array& index, const Array& table) const {
    Array y = Array::empty(Shape{index.numel(), table.shape()[1]}, table.dtype(), table.device());
    if (!backend(table.device()).embedding(y.view(), table.contiguous().view(), index.contiguous().view()))
      return std::nullopt;
    return y;
  }
  std::array<Array, 2> backward(const Kept&, const Wanted& wanted, const Array& dy, const Array& index,
                                const Array& table) const {
    if (!wanted[1]) return {};
    Array dtable = Array::zeros(table.shape(), table.dtype(), table.device());
    add_gradient(1, dtable, dy, index, table);
    return {Array(), std::move(dtable)};
  }
  bool add_gradient(std::size_t, const Array& dtable, const Array& dy, const Array& index,
                    const Array& table) const {
    NORMA_ASSERT(
        backend(table.device()).embedding_backward(dtable.view(), dy.view(), index.contiguous().view()));
    return true;
  }
};

}  // namespace

Tensor embedding(const Tensor& index, const Tensor& table) {
  check_defined("embedding", "index", index);
  check_defined("embedding", "table", table);
  NORMA_CHECK(index.dtype() == i64, "embedding: index must be i64, got ", index.dtype(), " ", index.shape());
  NORMA_CHECK(is_floating(table.dtype()) && table.dim() == 2,
              "embedding: table must be a floating matrix [entries, d], got ", table.dtype(), " ",
              table.shape());
  NORMA_CHECK(index.device() == table.device(), "embedding: index is on ", index.device(), ", table on ",
              table.device(), "; convert with to()");
  const Tensor rows = apply(EmbeddingOp{}, index.reshape({index.numel()}), table);
  if (index.dim() == 1) return rows;
  std::vector<std::int64_t> shape(index.shape().begin(), index.shape().end());
  shape.push_back(table.size(1));
  return rows.reshape(shape);
}

}  // namespace norma
