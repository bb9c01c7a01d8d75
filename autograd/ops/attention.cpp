// Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, equation 1) with grouped key heads
// (Ainslie et al. 2023, arXiv:2305.13245) and capped scores (Gemma 2, arXiv:2408.00118).
#include <cmath>
#include <limits>

#include "autograd/fused.h"
#include "autograd/ops.h"
#include "autograd/ops/internal.h"
#include "autograd/ops/rows.h"

namespace norma {
namespace {

constexpr const char* op_name = "scaled_dot_product_attention";
constexpr double infinity = std::numeric_limits<double>::infinity();

/// A tensor with its infinities and NaNs set to 0 and marked: 0 * NaN is NaN, so a weight of zero does not
/// keep them out of a product.
struct Finite {
  explicit Finite(const Tensor& x) : values(x) {
    const Tensor finite = x.detach().isfinite();
    // Reading the answer of another device would wait for it.
    if (is_host(x.device()) && finite.all().item() != 0) return;
    bad = logical_not(finite);
    values = x.masked_fill(bad, 0);
  }
  Tensor values;
  Tensor bad;  // undefined when there is known to be none
};

/// x [batch, heads, length, d] as kernels read it: rows without gaps that do not overlap, wherever they lie.
Array heads_of(const Array& x) {
  const bool readable = x.strides()[3] == 1 && x.strides()[2] >= x.shape()[3];
  return readable ? x : x.contiguous();
}

/// Memory for [batch, heads, length, width] with the heads side by side in a row if they lie so in x.
Array heads_like(const Array& x, std::int64_t width) {
  const Shape shape = x.shape().with(-1, width);
  if (x.strides()[1] >= x.strides()[2]) return Array::empty(shape, x.dtype(), x.device());
  return Array::empty({shape[0], shape[2], shape[1], width}, x.dtype(), x.device()).transpose(1, 2);
}

// q [batch, heads, q_length, d]   k [batch, kv_heads, k_length, d]   v [batch, kv_heads, k_length, d_v]
// mask [batch, heads, q_length, k_length] or absent
struct AttentionOp {
  static constexpr const char* name = op_name;
  static constexpr bool any_dy = true;
  AttentionOptions options;
  double dropout = 0;

  Tensor definition(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask) const {
    const Tensor p = weights(capped_scores(q, k), mask);
    const std::int64_t batch = k.size(0), kv_heads = k.size(1);
    const Finite value(v);
    const Tensor grouped = p.reshape({batch, kv_heads, q.size(1) / kv_heads * q.size(2), k.size(2)});
    Tensor y = grouped.matmul(value.values);
    if (value.bad.defined()) {
      const Tensor seen = (grouped.detach() != 0).to(y.dtype()).matmul(value.bad.to(y.dtype())) > 0;
      y = y.masked_fill(seen, std::numeric_limits<double>::quiet_NaN());
    }
    return y.reshape({batch, q.size(1), q.size(2), v.size(3)});
  }

  /// cap * tanh(scale q k^T / cap)   [batch, heads, q_length, k_length]
  Tensor capped_scores(const Tensor& q, const Tensor& k) const {
    const std::int64_t batch = k.size(0), kv_heads = k.size(1);
    const Finite key(k);
    // The query heads of one group stand below each other, so that a key head is one matrix.
    const std::int64_t rows = q.size(1) / kv_heads * q.size(2);
    Tensor scores = q.reshape({batch, kv_heads, rows, q.size(3)}).matmul(key.values.transpose(-1, -2));
    if (key.bad.defined()) {
      const Tensor bad_keys = key.bad.to(q.dtype()).amax(-1).unsqueeze(2) != 0;
      scores = scores.masked_fill(bad_keys, std::numeric_limits<double>::quiet_NaN());
    }
    scores = scores.reshape({batch, q.size(1), q.size(2), k.size(2)}) * options.scale;
    return options.cap > 0 ? softcap(scores, options.cap) : scores;
  }

  Tensor weights(Tensor scores, const Tensor& mask) const {
    if (scores.size(-1) == 0) return scores;
    if (mask.defined() && mask.dtype() != boolean) scores = scores + mask;
    const Tensor hidden = hidden_keys(scores, mask);
    if (!hidden.defined()) return dropped(softmax(scores, -1));
    // A row without any key would be 0 / 0.
    const Tensor dead = logical_not(hidden).to(scores.dtype()).amax(-1, keepdim) == 0;
    scores = scores.masked_fill(hidden, -infinity).masked_fill(dead, 0);
    return dropped(softmax(scores, -1).masked_fill(dead, 0));
  }

  /// True where a query must not see a key; undefined when every query sees every key.
  Tensor hidden_keys(const Tensor& scores, const Tensor& mask) const {
    Tensor hidden;
    if (mask.defined()) hidden = mask.dtype() == boolean ? logical_not(mask) : mask.detach() == -infinity;
    if (!options.causal) return hidden;
    const std::int64_t queries = scores.size(-2), keys = scores.size(-1);
    const Tensor last =
        arange(static_cast<double>(keys - queries), static_cast<double>(keys), 1, i64, scores.device());
    const Tensor future =
        arange(0, static_cast<double>(keys), 1, i64, scores.device()) > last.reshape({queries, 1});
    return hidden.defined() ? logical_or(hidden, future) : future;
  }

  Tensor dropped(const Tensor& p) const { return norma::dropout(p, dropout); }

  std::optional<Array> forward(Kept& kept, const Array& q, const Array& k, const Array& v,
                               const Array& mask) const {
    Array y = heads_like(q, v.shape()[-1]);
    if (y.numel() == 0 || k.numel() == 0) return std::nullopt;
    const Array lse = Array::empty(q.shape().removed(-1), f64, q.device());
    if (!backend(q.device())
             .attention(y.view(), lse.view(), heads_of(q).view(), heads_of(k).view(), heads_of(v).view(),
                        mask.view_or_none(), options))
      return std::nullopt;
    kept = {y, lse};
    return y;
  }

  std::array<Array, 4> backward(const Kept& kept, const Wanted&, const Array& dy, const Array& q,
                                const Array& k, const Array& v, const Array& mask) const {
    Array dq = heads_like(q, q.shape()[-1]), dk = heads_like(k, k.shape()[-1]),
          dv = heads_like(v, v.shape()[-1]);
    backward_into(dq, dk, dv, kept, dy, q, k, v, mask);
    return {std::move(dq), std::move(dk), std::move(dv), Array()};
  }

  void backward_into(const Array& dq, const Array& dk, const Array& dv, const Kept& kept, const Array& dy,
                     const Array& q, const Array& k, const Array& v, const Array& mask) const {
    NORMA_ASSERT(backend(q.device())
                     .attention_backward(dq.view(), dk.view(), dv.view(), heads_of(dy).view(), kept[0].view(),
                                         kept[1].view(), heads_of(q).view(), heads_of(k).view(),
                                         heads_of(v).view(), mask.view_or_none(), options));
  }
};

// The same with q, k and v side by side, as one projection makes them: their gradients are written side by
// side too.   qkv [batch, length, (heads + 2 kv_heads) d]   y [batch, heads, length, d]
struct PackedAttentionOp {
  static constexpr const char* name = op_name;
  static constexpr bool any_dy = true;
  AttentionOp attention;
  std::int64_t heads, kv_heads;

  template <class X>
  struct Parts {
    X q, k, v;
  };
  template <class X>
  Parts<X> parts(const X& qkv) const {
    const Shape& shape = qkv.shape();
    const std::int64_t d = shape[2] / (heads + 2 * kv_heads);
    const auto part = [&](std::int64_t first, std::int64_t count) {
      const std::vector<std::int64_t> extents{shape[0], shape[1], count, d};
      return qkv.slice(2, {first * d, (first + count) * d}).reshape(extents).transpose(1, 2);
    };
    return {part(0, heads), part(heads, kv_heads), part(heads + kv_heads, kv_heads)};
  }

  Tensor definition(const Tensor& qkv, const Tensor& mask) const {
    const Parts<Tensor> x = parts(qkv);
    return attention.definition(x.q, x.k, x.v, mask);
  }
  std::optional<Array> forward(Kept& kept, const Array& qkv, const Array& mask) const {
    const Parts<Array> x = parts(qkv);
    return attention.forward(kept, x.q, x.k, x.v, mask);
  }
  std::array<Array, 2> backward(const Kept& kept, const Wanted&, const Array& dy, const Array& qkv,
                                const Array& mask) const {
    Array dqkv = detail::empty_like(qkv);
    const Parts<Array> x = parts(qkv), dx = parts(dqkv);
    attention.backward_into(dx.q, dx.k, dx.v, kept, dy, x.q, x.k, x.v, mask);
    return {std::move(dqkv), Array()};
  }
};

/// The leading axes of q, k and v agree, and so do the extents that are multiplied.
void check_operands(const Tensor& q, const Tensor& k, const Tensor& v) {
  detail::check_floating(op_name, "q", q);
  detail::check_floating(op_name, "k", k);
  detail::check_floating(op_name, "v", v);
  detail::check_like(op_name, "k", k, q);
  detail::check_like(op_name, "v", v, q);
  const int rank = q.dim();
  const auto complain = [&](const char* what) {
    detail::fail(op_name, ": ", what, "; got q ", q.shape(), ", k ", k.shape(), ", v ", v.shape());
  };
  if (rank < 3 || k.dim() != rank || v.dim() != rank)
    complain("q, k and v must be [.., heads, length, d] of one rank >= 3");
  for (int axis = 0; axis < rank - 3; ++axis) {
    if (q.size(axis) != k.size(axis) || q.size(axis) != v.size(axis)) complain("leading axes must be equal");
  }
  if (q.size(-1) != k.size(-1) || q.size(-1) == 0) complain("q and k must have one last extent, at least 1");
  if (k.size(-3) != v.size(-3) || k.size(-2) != v.size(-2))
    complain("k and v must have equal heads and length");
  if (k.size(-3) == 0 || q.size(-3) == 0 || q.size(-3) % k.size(-3) != 0)
    complain("the heads of q must be a multiple of those of k, and neither may be 0");
}

void check_options(const Tensor& q, const SdpaOptions& options) {
  NORMA_CHECK(!options.scale || std::isfinite(*options.scale), op_name, ": scale must be finite, got ",
              options.scale.value_or(0));
  NORMA_CHECK(std::isfinite(options.cap) && options.cap >= 0, op_name,
              ": cap must be finite and >= 0 (0: none), got ", options.cap);
  NORMA_CHECK(options.dropout >= 0 && options.dropout < 1, op_name, ": dropout must lie in [0, 1), got ",
              options.dropout);
  if (!options.mask.defined()) return;
  NORMA_CHECK((options.mask.dtype() == boolean || options.mask.dtype() == q.dtype()) &&
                  options.mask.device() == q.device(),
              op_name, ": mask must be boolean or ", q.dtype(), " on ", q.device(), ", got ",
              options.mask.dtype(), " on ", options.mask.device());
}

std::vector<std::int64_t> list(const Shape& shape) { return {shape.begin(), shape.end()}; }

/// [.., heads, length, d] as [batch, heads, length, d].
Tensor four_axes(const Tensor& x) {
  if (x.dim() == 4) return x;
  std::int64_t batch = 1;
  for (int axis = 0; axis < x.dim() - 3; ++axis) batch *= x.size(axis);
  return x.reshape({batch, x.size(-3), x.size(-2), x.size(-1)});
}

AttentionOp make_op(const SdpaOptions& options, std::int64_t d) {
  AttentionOp op{.options = {}, .dropout = options.dropout};
  op.options.scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(d)));
  op.options.cap = options.cap;
  op.options.causal = options.causal;
  return op;
}

/// The kernel neither drops weights nor gives a gradient for the mask.
bool has_kernel(const SdpaOptions& options) {
  return options.dropout == 0 && !(options.mask.requires_grad() && grad_enabled());
}

}  // namespace

Tensor packed_attention(const Tensor& qkv, std::int64_t heads, std::int64_t kv_heads,
                        const SdpaOptions& options) {
  const PackedAttentionOp op{make_op(options, qkv.size(-1) / (heads + 2 * kv_heads)), heads, kv_heads};
  const auto [q, k, v] = op.parts(has_kernel(options) ? qkv.detach() : qkv);
  if (!has_kernel(options)) return scaled_dot_product_attention(q, k, v, options);
  check_operands(q, k, v);
  check_options(q, options);
  Tensor mask = options.mask;
  if (mask.defined()) mask = four_axes(mask.expand(q.shape().with(-1, k.size(-2))));
  return apply(op, qkv, mask);
}

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const SdpaOptions& options) {
  check_operands(q, k, v);
  check_options(q, options);
  const AttentionOp op = make_op(options, q.size(-1));
  Tensor mask = options.mask;
  if (mask.defined()) mask = four_axes(mask.expand(q.shape().with(-1, k.size(-2))));
  const Tensor q4 = four_axes(q), k4 = four_axes(k), v4 = four_axes(v);
  const Tensor y = has_kernel(options) ? apply(op, q4, k4, v4, mask) : op.definition(q4, k4, v4, mask);
  return q.dim() == 4 ? y : y.reshape(list(q.shape().with(-1, v.size(-1))));
}

}  // namespace norma
