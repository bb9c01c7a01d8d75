#include "nn/convolution.h"

#include <cmath>

#include "nn/init.h"

namespace norma::nn {
namespace {

using norma::detail::concat;

void check_extents(const char* name, std::int64_t in, std::int64_t out, Size2d kernel, std::int64_t groups) {
  NORMA_CHECK(in > 0 && out > 0, name, ": needs in_channels > 0 and out_channels > 0, got ", in, " and ",
              out);
  NORMA_CHECK(kernel.height > 0 && kernel.width > 0, name, ": needs a kernel_size > 0, got ", kernel.height,
              " x ", kernel.width);
  NORMA_CHECK(groups > 0 && in % groups == 0 && out % groups == 0, name,
              ": groups must be > 0 and divide in_channels ", in, " and out_channels ", out, ", got ",
              groups);
}

Tensor uniform(const Shape& shape, std::int64_t fan_in) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return init::uniform_(empty(shape), -bound, bound);
}

std::string text(Size2d size) { return concat("[", size.height, ", ", size.width, "]"); }

}  // namespace

Conv1d::Conv1d(std::int64_t in_channels, std::int64_t out_channels, std::int64_t kernel_size,
               const Conv1dOptions& options, bool with_bias)
    : options_(options) {
  check_extents("Conv1d", in_channels, out_channels, {1, kernel_size}, options.groups);
  const std::int64_t per_group = in_channels / options.groups;
  weight = Parameter(uniform({out_channels, per_group, kernel_size}, per_group * kernel_size));
  if (with_bias) bias = Parameter(uniform({out_channels}, per_group * kernel_size));
}

std::string Conv1d::describe() const {
  return concat("in_channels=", weight.size(1) * options_.groups, ", out_channels=", weight.size(0),
                ", kernel_size=", weight.size(2), ", stride=", options_.stride,
                ", padding=", options_.padding, ", dilation=", options_.dilation,
                ", groups=", options_.groups, ", bias=", bias.defined());
}

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, Size2d kernel_size,
               const Conv2dOptions& options, bool with_bias)
    : options_(options) {
  check_extents("Conv2d", in_channels, out_channels, kernel_size, options.groups);
  const std::int64_t per_group = in_channels / options.groups;
  const std::int64_t fan_in = per_group * kernel_size.height * kernel_size.width;
  weight = Parameter(uniform({out_channels, per_group, kernel_size.height, kernel_size.width}, fan_in));
  if (with_bias) bias = Parameter(uniform({out_channels}, fan_in));
}

std::string Conv2d::describe() const {
  return concat("in_channels=", weight.size(1) * options_.groups, ", out_channels=", weight.size(0),
                ", kernel_size=", text({weight.size(2), weight.size(3)}), ", stride=", text(options_.stride),
                ", padding=", text(options_.padding), ", dilation=", text(options_.dilation),
                ", groups=", options_.groups, ", bias=", bias.defined());
}

}  // namespace norma::nn
