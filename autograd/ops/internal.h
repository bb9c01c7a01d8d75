// Ops that other ops need and users do not.
#pragma once

#include "autograd/ops.h"

namespace norma {

/// Inclusive running sum along an axis, from the end if reverse.
Tensor running_sum(const Tensor& x, int axis, bool reverse);

/// Zeros of `shape` with x in the given range of an axis: the adjoint of slice.
Tensor embed_slice(const Tensor& x, const Shape& shape, int axis, Slice range);

/// scaled_dot_product_attention of q, k and v that lie side by side in qkv [batch, length, (heads + 2
/// kv_heads) d]; y [batch, heads, length, d]. One node, whose gradient is written in place of three joined
/// ones.
Tensor packed_attention(const Tensor& qkv, std::int64_t heads, std::int64_t kv_heads,
                        const SdpaOptions& options);

namespace detail {

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
