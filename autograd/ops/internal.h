// Ops that other ops need and users do not.
#pragma once

#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/kernels.h"

namespace norma {

/// Inclusive running sum along an axis, from the end if reverse.
Tensor running_sum(const Tensor& x, int axis, bool reverse);

/// Zeros of `shape` with x in a part of it: the adjoint of slice.
Tensor embed_slice(const Tensor& x, const Shape& shape, const Part& part);

/// scaled_dot_product_attention of q, k and v that lie side by side in qkv [batch, length, (heads + 2
/// kv_heads) d]; y [batch, heads, length, d]. One node, whose gradient is written in place of three joined
/// ones.
Tensor packed_attention(const Tensor& qkv, std::int64_t heads, std::int64_t kv_heads,
                        const SdpaOptions& options);

namespace detail {

/// True where a rule's kernel may run: not where the rule is to be differentiated itself.
inline bool kernels_serve(const Backward& call) { return !call.create_graph && !DefinitionsOnly::active(); }

/// dx of y = op(x): by the kernel for it, else by the definition, in ops. v: x or y, as
/// Backend::unary_gradient says; p and q are the parameters of the op.
template <class Definition>
Tensor unary_gradient(const Backward& call, Unary op, const Tensor& v, const Definition& definition,
                      double p = 0, double q = 0) {
  Array dx;
  if (kernels_serve(call)) dx = kernels::unary_gradient(op, call.dy.array(), v.array(), p, q);
  return dx.defined() ? Tensor(std::move(dx)) : definition();
}

/// The gradient of operand i of op(a, b), summed to its shape; undefined where it is not wanted.
template <class Definition>
Tensor binary_gradient(const Backward& call, Binary op, std::size_t i, const Tensor& a, const Tensor& b,
                       const Definition& definition) {
  if (!call.needs(i)) return Tensor();
  Array d;
  if (kernels_serve(call))
    d = kernels::binary_gradient(op, static_cast<int>(i), call.dy.array(), a.array(), b.array());
  return call.summed(i, d.defined() ? Tensor(std::move(d)) : definition());
}

// The tensor that holds `value`, op(a, b) or a x + b of affine, with the op's rule. The value may have been
// written over the memory of the first operand: mul and div save that only where the other wants a gradient.
Tensor record_add(Array value, const Tensor& a, const Tensor& b);
Tensor record_sub(Array value, const Tensor& a, const Tensor& b);
Tensor record_mul(Array value, const Tensor& a, const Tensor& b);
Tensor record_div(Array value, const Tensor& a, const Tensor& b);
Tensor record_affine(Array value, const Tensor& x, double a);

// Ops over planes: x [n, c, h, w] with `spatial` = 2, or [n, c, length] with `spatial` = 1.
/// Throws unless x is floating and has these axes, the first of which may be missing.
void check_planes(const char* op, const Tensor& x, int spatial);
/// x as [n, c, h, w], with an h and an n of 1 where it has none; and the way back, for an x of `rank` axes.
Tensor as_planes(const Tensor& x, int spatial);
Tensor from_planes(const Tensor& y, int rank, int spatial);
/// Throws unless the window's numbers are in range and it fits into the last `spatial` extents of x.
void check_window(const char* op, const Window& window, const Shape& x, int spatial);

}  // namespace detail

}  // namespace norma
