#include "nn/norm/reweighted.h"

namespace norma::nn::detail {
namespace {

class Find final : public PartVisitor {
 public:
  explicit Find(std::string_view name) : name_(name) {}
  void parameter(std::string_view name, Parameter& part) override {
    if (name == name_) found = &part;
  }
  void buffer(std::string_view, Buffer&) override {}
  void module(std::string_view, Module&) override {}

  Parameter* found = nullptr;

 private:
  std::string_view name_;
};

// Passes all parts on but the parameter "weight".
class Others final : public PartVisitor {
 public:
  explicit Others(PartVisitor& visitor) : visitor_(visitor) {}
  void parameter(std::string_view name, Parameter& part) override {
    if (name != "weight") visitor_.parameter(name, part);
  }
  void buffer(std::string_view name, Buffer& part) override { visitor_.buffer(name, part); }
  void module(std::string_view name, Module& part) override { visitor_.module(name, part); }

 private:
  PartVisitor& visitor_;
};

// Makes a parameter the handle of another tensor for one scope; of nothing when there is none.
class Swap {
 public:
  Swap(Parameter* place, const Tensor& tensor) : place_(tensor.defined() ? place : nullptr) {
    if (place_ == nullptr) return;
    own_ = *place_;
    static_cast<Tensor&>(*place_) = tensor;
  }
  ~Swap() {
    if (place_ != nullptr) static_cast<Tensor&>(*place_) = own_;
  }
  Swap(const Swap&) = delete;
  Swap& operator=(const Swap&) = delete;

 private:
  Parameter* place_;
  Tensor own_;
};

Parameter* find_in(AnyLayer& layer, std::string_view name) {
  Find find(name);
  layer.visit_parts(find);
  return find.found;
}

}  // namespace

Reweighted::Reweighted(const char* user, AnyLayer layer) : layer_(std::move(layer)) {
  NORMA_CHECK(layer_.defined(), user, ": needs a layer, got an empty AnyLayer");
  const Parameter* const weight = find("weight");
  NORMA_CHECK(weight != nullptr, user, ": needs a layer with a parameter named \"weight\", ",
              layer_.held().type_name(), " has none");
  NORMA_CHECK(weight->dim() >= 1 && weight->numel() > 0, user,
              ": needs a weight of rank 1 or more that is not empty, got shape ", weight->shape());
}

Parameter* Reweighted::find(std::string_view name) { return find_in(layer_, name); }

Tensor Reweighted::call(const Tensor& x, bool training, const Tensor& weight, const Tensor& bias) {
  if (layer_.held().is_training() != training) layer_.train(training);
  const Swap weight_swap(find("weight"), weight), bias_swap(find("bias"), bias);
  return layer_(x);
}

void Reweighted::visit_others(PartVisitor& visitor) {
  Others others(visitor);
  layer_.visit_parts(others);
}

AnyLayer Reweighted::with_weight(const Tensor& weight) const {
  AnyLayer plain = layer_;
  static_cast<Tensor&>(*find_in(plain, "weight")) = Parameter(weight);
  return plain;
}

std::string Reweighted::describe() const {
  AnyLayer& layer = const_cast<AnyLayer&>(layer_);  // held() is for both reading and writing
  return layer.held().type_name() + "(" + layer.held().describe() + ")";
}

}  // namespace norma::nn::detail
