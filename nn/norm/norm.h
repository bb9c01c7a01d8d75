// Norms by name, for models that choose theirs at run time.
#pragma once

#include <string_view>

#include "nn/any_layer.h"

namespace norma::nn {

/// "layer": LayerNorm, "rms": RMSNorm (eps outside the root), "none": Identity; over a last axis of extent
/// `width`. Throws for other names, listing these.
AnyLayer make_norm(std::string_view name, std::int64_t width, double eps = 1e-5);

}  // namespace norma::nn
