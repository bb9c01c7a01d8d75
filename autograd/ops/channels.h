// What the norms over channels share: x [n, channels, spatial..] read as [n, channels, inner], and checks.
#pragma once

#include "autograd/ops/rows.h"

namespace norma::detail {

/// Throws unless x is floating and has the axes n and channels.
void check_channels(const char* op, const Tensor& x);
/// Throws unless the tensor is undefined, or has shape [channels of x] and x's dtype and device.
void check_per_channel(const char* op, const char* argument, const Tensor& tensor, const Tensor& x);
/// Throws unless the mask is undefined, or boolean [n, spatial..] on x's device.
void check_channel_mask(const char* op, const Tensor& mask, const Tensor& x);

/// Product of the spatial extents, 1 when there are none.
std::int64_t spatial_count(const Tensor& x);
/// x as [n, channels, inner].
Tensor as_channels(const Tensor& x);
/// y [n, channels, inner] in the shape of x.
Tensor like_input(const Tensor& y, const Tensor& x);
/// A vector [channels] as [1, channels, 1].
inline Tensor per_channel(const Tensor& vector) { return vector.reshape({1, -1, 1}); }

}  // namespace norma::detail
