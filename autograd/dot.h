// Drawing the graph behind a tensor.
#pragma once

#include <string>

#include "autograd/tensor.h"

namespace norma {

/// The recorded graph that leads to y in the language of Graphviz (`dot -Tsvg`). Ops are ellipses with name
/// and shape of their result, leaves that require a gradient are boxes with their shape; arrows point from
/// input to result. The same computation gives the same text.
std::string to_dot(const Tensor& y);

}  // namespace norma
