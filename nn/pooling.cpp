#include "nn/pooling.h"

namespace norma::nn {
namespace {

using norma::detail::concat;

std::string text(std::int64_t size) { return concat(size); }
std::string text(Size2d size) { return concat("[", size.height, ", ", size.width, "]"); }

template <class Size, class Options>
std::string pool_text(Size kernel_size, const Options& o) {
  std::string out =
      concat("kernel_size=", text(kernel_size), ", stride=", text(o.stride), ", padding=", text(o.padding));
  if constexpr (requires { o.dilation; }) out += concat(", dilation=", text(o.dilation));
  out += concat(", ceil_mode=", o.ceil_mode);
  if constexpr (requires { o.count_include_pad; }) out += concat(", count_include_pad=", o.count_include_pad);
  return out;
}

}  // namespace

std::string MaxPool1d::describe() const { return pool_text(kernel_size_, options_); }
std::string MaxPool2d::describe() const { return pool_text(kernel_size_, options_); }
std::string AvgPool1d::describe() const { return pool_text(kernel_size_, options_); }
std::string AvgPool2d::describe() const { return pool_text(kernel_size_, options_); }
std::string AdaptiveAvgPool1d::describe() const { return concat("output_size=", text(output_size_)); }
std::string AdaptiveAvgPool2d::describe() const { return concat("output_size=", text(output_size_)); }
std::string AdaptiveMaxPool1d::describe() const { return concat("output_size=", text(output_size_)); }
std::string AdaptiveMaxPool2d::describe() const { return concat("output_size=", text(output_size_)); }
std::string Flatten::describe() const { return concat("start_dim=", start_dim_, ", end_dim=", end_dim_); }

}  // namespace norma::nn
