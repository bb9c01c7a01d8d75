#include "nn/any_layer.h"

#include "autograd/ops.h"

namespace norma::nn {

Tensor detail::sum(const Tensor& a, const Tensor& b) { return a + b; }

AnyLayer& AnyLayer::operator=(const AnyLayer& other) {
  if (this == &other) return *this;
  Module::operator=(other);
  if (!box_ || !other.box_ || !box_->assign(*other.box_, false)) {
    box_ = other.box_ ? other.box_->copy() : nullptr;
  }
  return *this;
}

AnyLayer& AnyLayer::operator=(AnyLayer&& other) {
  if (this == &other) return *this;
  Module::operator=(other);
  if (!box_ || !other.box_ || !box_->assign(*other.box_, true)) box_ = std::move(other.box_);
  return *this;
}

Tensor AnyLayer::operator()(const Tensor& x) {
  NORMA_CHECK(box_ != nullptr, "AnyLayer: holds no layer; assign one before calling it");
  return box_->call(x);
}

std::pair<Tensor, Tensor> AnyLayer::add_then(const Tensor& a, const Tensor& b) {
  NORMA_CHECK(box_ != nullptr, "AnyLayer: holds no layer; assign one before calling it");
  return box_->add_then(a, b);
}

Tensor Sequential::operator()(const Tensor& x) {
  Tensor y = x;
  for (AnyLayer& layer : layers_) y = layer(y);
  return y;
}

AnyLayer& Sequential::operator[](std::int64_t position) {
  NORMA_CHECK(position >= 0 && position < size(), "Sequential: has ", size(), " layers, got position ",
              position);
  return layers_[static_cast<std::size_t>(position)];
}

void Sequential::visit_parts(PartVisitor& visitor) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    detail::visit_part(visitor, std::to_string(i), layers_[i]);
  }
}

}  // namespace norma::nn
