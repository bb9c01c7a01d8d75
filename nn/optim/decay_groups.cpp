#include <algorithm>

#include "nn/optim/optimizer.h"

namespace norma::nn {
namespace {

class DecaySorter final : public PartVisitor {
 public:
  DecaySorter(Module& module, double weight_decay) : type_(module.held().type_name()) {
    groups[0].weight_decay = weight_decay;
    groups[1].weight_decay = 0;
  }

  void parameter(std::string_view name, Parameter& parameter) override {
    groups[decays(name, parameter.shape()) ? 0 : 1].parameters.push_back(parameter);
  }
  void buffer(std::string_view, Buffer&) override {}
  void module(std::string_view, Module& module) override {
    const std::string outer = std::exchange(type_, module.held().type_name());
    module.visit_parts(*this);
    type_ = outer;
  }

  std::vector<ParamGroup> groups{2};

 private:
  bool decays(std::string_view name, const Shape& shape) const {
    if (shape.rank() < 2 || type_.find("Norm") != std::string::npos) return false;
    const std::string_view last = name.substr(name.rfind('.') + 1);
    if (last == "bias" || last.ends_with("_bias")) return false;
    return last.ends_with("weight") ||
           std::count_if(shape.begin(), shape.end(), [](auto n) { return n > 1; }) >= 2;
  }

  std::string type_;  // of the module that owns the parameters visited now
};

}  // namespace

std::vector<ParamGroup> decay_groups(Module& module, double weight_decay) {
  DecaySorter sorter(module, weight_decay);
  module.visit_parts(sorter);
  return std::move(sorter.groups);
}

}  // namespace norma::nn
