// Norms by name, for models that choose theirs at run time.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "nn/any_layer.h"

namespace norma::nn {

struct NormInfo {
  std::string_view name;
  std::string_view what;  // one line: the equation or the layer
  bool per_token;         // an output depends on its own position only, in training too
};

/// The one list of methods that make_norm knows.
std::span<const NormInfo> norm_methods();

/// The method of this name over a last axis of extent `width`, with its own default eps when `eps` is absent;
/// methods without an eps ignore it. Throws for other names, listing all.
AnyLayer make_norm(std::string_view name, std::int64_t width, std::optional<double> eps = {});

/// NormInfo::per_token of the method. Throws as make_norm does.
bool is_per_token(std::string_view name);

}  // namespace norma::nn
