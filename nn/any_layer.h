// AnyLayer: a value that holds any tensor-to-tensor layer, for layers chosen at run time; Sequential: a row
// of them.
#pragma once

#include "nn/module.h"

namespace norma::nn {

/// What AnyLayer can hold: a copyable module that maps a tensor to a tensor.
template <class Layer>
concept TensorLayer = std::derived_from<Layer, Module> && std::copy_constructible<Layer> &&
    requires(Layer& layer, const Tensor& x) {
  { layer(x) } -> std::same_as<Tensor>;
};

namespace detail {
Tensor sum(const Tensor& a, const Tensor& b);
}

/// Copies are deep, moves keep the held layer. Names, printing, modes and state-dict keys are those of the
/// held layer, as if it were the member itself. Assigning a layer of the type already held writes its values
/// (see Parameter); another type replaces it. A default-constructed one is empty: it has no parts and throws
/// when called.
class AnyLayer final : public Module {
 public:
  AnyLayer() = default;
  template <class Layer>
  requires(!std::same_as<Layer, AnyLayer> && TensorLayer<Layer>) AnyLayer(Layer layer)
      : box_(std::make_unique<Box<Layer>>(std::move(layer))) {}
  AnyLayer(const AnyLayer& other) : Module(other), box_(other.box_ ? other.box_->copy() : nullptr) {}
  AnyLayer(AnyLayer&&) noexcept = default;
  AnyLayer& operator=(const AnyLayer& other);
  AnyLayer& operator=(AnyLayer&& other);
  ~AnyLayer() override = default;

  Tensor operator()(const Tensor& x);
  /// {a + b, layer(a + b)}: in one pass over memory where the layer has an add_then of its own.
  std::pair<Tensor, Tensor> add_then(const Tensor& a, const Tensor& b);
  bool defined() const { return box_ != nullptr; }
  /// The held layer when it is of this type, else nullptr.
  template <class Layer>
  Layer* get() {
    return box_ ? dynamic_cast<Layer*>(&box_->layer()) : nullptr;
  }

  Module& held() override { return box_ ? box_->layer().held() : *this; }
  void visit_parts(PartVisitor& visitor) override {
    if (box_) box_->layer().visit_parts(visitor);
  }
  std::size_t object_size() const override { return sizeof(*this); }

 private:
  struct BoxBase {
    virtual ~BoxBase() = default;
    virtual std::unique_ptr<BoxBase> copy() const = 0;
    virtual Module& layer() = 0;
    virtual Tensor call(const Tensor& x) = 0;
    virtual std::pair<Tensor, Tensor> add_then(const Tensor& a, const Tensor& b) = 0;
    // Assigns the other's layer if it has this type; false otherwise.
    virtual bool assign(BoxBase& other, bool move) = 0;
  };
  template <class Layer>
  struct Box final : BoxBase {
    explicit Box(Layer value_) : value(std::move(value_)) {}
    std::unique_ptr<BoxBase> copy() const override { return std::make_unique<Box>(value); }
    Module& layer() override { return value; }
    Tensor call(const Tensor& x) override { return value(x); }
    std::pair<Tensor, Tensor> add_then(const Tensor& a, const Tensor& b) override {
      if constexpr (requires { value.add_then(a, b); }) return value.add_then(a, b);
      const Tensor sum = detail::sum(a, b);
      return {sum, value(sum)};
    }
    bool assign(BoxBase& other, bool move) override {
      auto* const same = dynamic_cast<Box*>(&other);
      if (same == nullptr) return false;
      if (move) {
        value = std::move(same->value);
      } else {
        value = same->value;
      }
      return true;
    }
    Layer value;
  };
  std::unique_ptr<BoxBase> box_;
};

/// Layers one after another: Sequential(Linear(3, 4), ReLU(), Linear(4, 2)). Their names are "0", "1", ...
class Sequential : public Module {
 public:
  Sequential() = default;
  /// Not for one Sequential alone, which is copied or moved.
  template <class... Layers>
  requires(!(sizeof...(Layers) == 1 && (std::same_as<Layers, Sequential> && ...)) &&
           (TensorLayer<Layers> && ...)) explicit Sequential(Layers... layers) {
    layers_.reserve(sizeof...(layers));
    (layers_.emplace_back(std::move(layers)), ...);
  }
  /// No layers: x itself.
  Tensor operator()(const Tensor& x);
  void push_back(AnyLayer layer) { layers_.push_back(std::move(layer)); }
  std::int64_t size() const { return static_cast<std::int64_t>(layers_.size()); }
  /// Throws when there is no such layer.
  AnyLayer& operator[](std::int64_t position);

  void visit_parts(PartVisitor& visitor) override;
  std::size_t object_size() const override { return sizeof(*this); }

 private:
  std::vector<AnyLayer> layers_;
};

}  // namespace norma::nn
