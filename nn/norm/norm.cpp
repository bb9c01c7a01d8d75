#include "nn/norm/norm.h"

#include "nn/activation.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/rms_norm.h"

namespace norma::nn {

AnyLayer make_norm(std::string_view name, std::int64_t width, double eps) {
  if (name == "layer") return LayerNorm({.normalized_shape = {width}, .eps = eps});
  if (name == "rms") return RMSNorm({.normalized_shape = {width}, .eps = eps});
  if (name == "none") return Identity();
  throw Error(norma::detail::concat("make_norm: unknown norm \"", name, "\"; known are layer, rms, none"));
}

}  // namespace norma::nn
