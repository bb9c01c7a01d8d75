#include "backends/elementwise.h"

namespace norma {

const char* name(Unary op) {
  constexpr const char* names[] = {"neg",        "exp",     "log",   "sqrt",        "rsqrt",    "tanh",
                                   "erf",        "abs",     "sign",  "sin",         "cos",      "floor",
                                   "reciprocal", "sigmoid", "expm1", "log1p",       "softplus", "relu",
                                   "affine",     "pow",     "clamp", "logical_not", "isnan",    "isfinite"};
  return names[static_cast<int>(op)];
}

const char* name(Binary op) {
  constexpr const char* names[] = {"add", "sub", "mul", "div", "pow", "maximum",     "minimum",   "eq",
                                   "ne",  "lt",  "le",  "gt",  "ge",  "logical_and", "logical_or"};
  return names[static_cast<int>(op)];
}

const char* name(Reduce op) {
  constexpr const char* names[] = {"sum", "max", "min", "any", "all"};
  return names[static_cast<int>(op)];
}

}  // namespace norma
