// Views and copies of the same elements in another shape; each rule is the inverse view.
#include <algorithm>

#include "autograd/gradient_sum.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/ops/internal.h"

namespace norma {
namespace {

std::vector<std::int64_t> extents_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

constexpr RecordOptions as_view{.is_view = true};

/// The rule of slice.
struct EmbedPart {
  Shape shape;
  Part part;
  Gradients operator()(const Backward& b) const { return {embed_slice(b.dy, shape, part)}; }
};

/// The parts, whose shapes fit, side by side along an axis of extent `extent`: by the kernel for it, else one
/// by one.
Array joined(const std::vector<Array>& parts, int axis, std::int64_t extent) {
  const Array& first = parts[0];
  Array whole = Array::empty(first.shape().with(axis, extent), first.dtype(), first.device());
  std::vector<View> views;
  views.reserve(parts.size());
  for (const Array& part : parts) views.push_back(part.view());
  if (backend(whole.device()).join(whole.view(), views, axis)) return whole;
  std::int64_t start = 0;
  for (const Array& part : parts) {
    const std::int64_t stop = start + part.shape()[axis];
    whole.slice(axis, {start, stop}).copy_from(part);
    start = stop;
  }
  return whole;
}

}  // namespace

Tensor Tensor::reshape(std::vector<std::int64_t> extents) const {
  check_defined("reshape", "x", *this);
  Array value = array().reshape(extents);
  const bool shared = value.shares_storage(array());
  return record(
      "reshape", std::move(value), {*this},
      [shape = shape()](const Backward& b) -> Gradients { return {b.dy.reshape(extents_of(shape))}; },
      {.is_view = shared});
}

Tensor Tensor::view(std::vector<std::int64_t> extents) const {
  Tensor out = reshape(std::move(extents));
  NORMA_CHECK(out.array().shares_storage(array()) || numel() == 0, "view: shape ", shape(), " with strides ",
              array().strides(), " cannot be seen as ", out.shape(), " without a copy; use reshape()");
  return out;
}

Tensor Tensor::flatten(int first, int last) const {
  check_defined("flatten", "x", *this);
  if (dim() == 0) return reshape({1});
  first = normalize_axis(first, dim(), "flatten");
  last = normalize_axis(last, dim(), "flatten");
  NORMA_CHECK(first <= last, "flatten: the first axis must not come after the last, got ", first, " and ",
              last);
  std::vector<std::int64_t> extents;
  for (int axis = 0; axis < dim(); ++axis) {
    if (axis > first && axis <= last) {
      extents.back() *= size(axis);
    } else {
      extents.push_back(size(axis));
    }
  }
  return reshape(std::move(extents));
}

Tensor Tensor::unflatten(int axis, std::vector<std::int64_t> parts) const {
  check_defined("unflatten", "x", *this);
  const int place = normalize_axis(axis, dim(), "unflatten");
  std::int64_t known = 1;
  for (const std::int64_t part : parts) known *= part < 0 ? 1 : part;
  for (std::int64_t& part : parts) {
    if (part == -1 && known > 0) part = size(place) / known;
  }
  std::int64_t total = 1;
  for (const std::int64_t part : parts) total *= part;
  NORMA_CHECK(total == size(place), "unflatten: the parts ", std::span<const std::int64_t>(parts),
              " do not multiply to the extent ", size(place), " of axis ", axis, " of shape ", shape());
  std::vector<std::int64_t> extents = extents_of(shape());
  extents.erase(extents.begin() + place);
  extents.insert(extents.begin() + place, parts.begin(), parts.end());
  return reshape(std::move(extents));
}

Tensor Tensor::permute(std::vector<int> axes) const {
  check_defined("permute", "x", *this);
  std::vector<int> inverse(axes.size());
  Array value = array().permute(axes);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    inverse[static_cast<std::size_t>(normalize_axis(axes[i], dim(), "permute"))] = static_cast<int>(i);
  }
  return record(
      "permute", std::move(value), {*this},
      [inverse = std::move(inverse)](const Backward& b) -> Gradients { return {b.dy.permute(inverse)}; },
      as_view);
}

Tensor Tensor::transpose(int axis0, int axis1) const {
  check_defined("transpose", "x", *this);
  return record(
      "transpose", array().transpose(axis0, axis1), {*this},
      [axis0, axis1](const Backward& b) -> Gradients { return {b.dy.transpose(axis0, axis1)}; }, as_view);
}

Tensor Tensor::t() const {
  NORMA_CHECK(dim() == 2, "t: needs a matrix (rank 2), got shape ", shape(),
              "; use transpose(-2, -1) for batches");
  return transpose(0, 1);
}

Tensor Tensor::squeeze(int axis) const {
  check_defined("squeeze", "x", *this);
  const int place = normalize_axis(axis, dim(), "squeeze");
  if (size(place) != 1) return *this;
  return reshape(extents_of(shape().removed(place)));
}

Tensor Tensor::unsqueeze(int axis) const {
  check_defined("unsqueeze", "x", *this);
  const int place = normalize_axis(axis, dim() + 1, "unsqueeze");
  return record(
      "unsqueeze", array().unsqueeze(place), {*this},
      [place](const Backward& b) -> Gradients { return {b.dy.squeeze(place)}; }, as_view);
}

Tensor Tensor::expand(const Shape& shape) const {
  check_defined("expand", "x", *this);
  if (shape == this->shape()) return *this;
  return record(
      "expand", array().expand(shape), {*this},
      [from = this->shape()](const Backward& b) -> Gradients { return {sum_to(b.dy, from)}; }, as_view);
}

Tensor Tensor::slice(int axis, Slice range) const {
  check_defined("slice", "x", *this);
  const int place = normalize_axis(axis, dim(), "slice");
  Array value = array().slice(place, range);  // checks the step
  return record("slice", std::move(value), {*this}, EmbedPart{shape(), {place, clipped(range, size(place))}},
                as_view);
}

Tensor embed_slice(const Tensor& x, const Shape& shape, const Part& part) {
  detail::GradientSum whole;
  whole.add_part(x.array(), shape, part);
  return record("embed_slice", whole.total().array(), {x},
                [part](const Backward& b) -> Gradients { return {b.dy.slice(part.axis, part.range)}; });
}

Tensor Tensor::narrow(int axis, std::int64_t start, std::int64_t length) const {
  check_defined("narrow", "x", *this);
  const int place = normalize_axis(axis, dim(), "narrow");
  NORMA_CHECK(start >= 0 && length >= 0 && start <= size(place) - length, "narrow: [", start, ", ",
              start + length, ") lies outside axis ", axis, " of shape ", shape());
  return slice(place, {start, start + length});
}

Tensor Tensor::select(int axis, std::int64_t position) const {
  check_defined("select", "x", *this);
  const int place = normalize_axis(axis, dim(), "select");
  const std::int64_t extent = size(place);
  NORMA_CHECK(position >= -extent && position < extent, "select: position ", position,
              " is out of range for axis ", axis, " of shape ", shape());
  const std::int64_t start = position < 0 ? position + extent : position;
  return slice(place, {start, start + 1}).squeeze(place);
}

Tensor Tensor::index(std::initializer_list<Index> places) const {
  check_defined("index", "x", *this);
  NORMA_CHECK(static_cast<int>(places.size()) <= dim(), "index: ", places.size(),
              " places for a tensor of shape ", shape());
  Tensor out = *this;
  int axis = 0;
  for (const Index& place : places) {
    if (place.is_position) {
      out = out.select(axis, place.range.start);
    } else {
      out = out.slice(axis++, place.range);
    }
  }
  return out;
}

Tensor cat(const std::vector<Tensor>& xs, int axis) {
  NORMA_CHECK(!xs.empty(), "cat: needs at least one tensor");
  for (const Tensor& x : xs) check_defined("cat", "an element of the list", x);
  const int place = normalize_axis(axis, xs[0].dim(), "cat");
  std::vector<std::int64_t> starts{0};
  for (const Tensor& x : xs) {
    NORMA_CHECK(x.dim() == xs[0].dim() && x.shape().with(place, 0) == xs[0].shape().with(place, 0) &&
                    x.dtype() == xs[0].dtype() && x.device() == xs[0].device(),
                "cat: all tensors must agree but for axis ", axis, ", got ", xs[0].dtype(), " ",
                xs[0].shape(), " on ", xs[0].device(), " and ", x.dtype(), " ", x.shape(), " on ",
                x.device());
    starts.push_back(starts.back() + x.size(place));
  }
  std::vector<Array> parts;
  for (const Tensor& x : xs) parts.push_back(x.array());
  Array whole = joined(parts, place, starts.back());
  return record("cat", std::move(whole), std::span<const Tensor>(xs),
                [place, starts = std::move(starts)](const Backward& b) {
                  Gradients gradients(starts.size() - 1);
                  for (std::size_t i = 0; i < gradients.size(); ++i) {
                    if (b.needs(i)) gradients[i] = b.dy.slice(place, {starts[i], starts[i + 1]});
                  }
                  return gradients;
                });
}

Tensor stack(const std::vector<Tensor>& xs, int axis) {
  NORMA_CHECK(!xs.empty(), "stack: needs at least one tensor");
  for (const Tensor& x : xs) check_defined("stack", "an element", x);
  const int place = normalize_axis(axis, xs[0].dim() + 1, "stack");
  std::vector<Array> parts;
  for (const Tensor& x : xs) {
    NORMA_CHECK(x.shape() == xs[0].shape(), "stack: all tensors must have one shape, got ", xs[0].shape(),
                " and ", x.shape());
    kernels::check_same_kind("stack", xs[0].array(), x.array());
    parts.push_back(x.array().unsqueeze(place));
  }
  return record("stack", joined(parts, place, static_cast<std::int64_t>(xs.size())),
                std::span<const Tensor>(xs), [place, count = xs.size()](const Backward& b) {
                  Gradients gradients(count);
                  for (std::size_t i = 0; i < count; ++i) {
                    if (b.needs(i)) gradients[i] = b.dy.select(place, static_cast<std::int64_t>(i));
                  }
                  return gradients;
                });
}

Tensor pad(const Tensor& x, const std::vector<std::int64_t>& amounts, double value) {
  check_defined("pad", "x", x);
  NORMA_CHECK(amounts.size() % 2 == 0 && amounts.size() <= 2 * static_cast<std::size_t>(x.dim()),
              "pad: needs {before, after} for up to ", x.dim(), " axes, got ", amounts.size(), " numbers");
  Shape shape = x.shape();
  for (std::size_t i = 0; i < amounts.size(); i += 2) {
    NORMA_CHECK(amounts[i] >= 0 && amounts[i + 1] >= 0, "pad: amounts must not be negative, got ",
                std::span<const std::int64_t>(amounts));
    const int axis = x.dim() - 1 - static_cast<int>(i / 2);
    shape = shape.with(axis, shape[axis] + amounts[i] + amounts[i + 1]);
  }
  const auto inner = [amounts](const auto& whole, const Shape& kept) {
    auto part = whole;
    for (std::size_t i = 0; i < amounts.size(); i += 2) {
      const int axis = kept.rank() - 1 - static_cast<int>(i / 2);
      part = part.slice(axis, {amounts[i], amounts[i] + kept[axis]});
    }
    return part;
  };
  Array padded = Array::full(shape, value, x.dtype(), x.device());
  inner(padded, x.shape()).copy_from(x.array());
  return record("pad", std::move(padded), {x},
                [inner, kept = x.shape()](const Backward& b) -> Gradients { return {inner(b.dy, kept)}; });
}

}  // namespace norma
