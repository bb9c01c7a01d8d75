// Module: members by value, listed once.
//
//   class Mlp : public nn::Module {
//    public:
//     Mlp(std::int64_t in, std::int64_t hidden, std::int64_t out) : up(in, hidden), down(hidden, out) {}
//     Tensor operator()(const Tensor& x) { return down(relu(up(x))); }
//     NORMA_PARTS(up, down)
//     nn::Linear up, down;
//   };
//
// Names are the member names, so state-dict keys are PyTorch's: "up.weight", "blocks.3.norm1.weight".
// Copies are independent; moves keep identity, so an optimizer's handles stay right.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "autograd/tensor.h"

namespace norma::nn {

class Module;

/// A tensor with identity that wants a gradient. Copying copies the values (not the gradient), moving keeps
/// the identity, assigning to a defined one writes values into the same storage after a shape check. Default:
/// absent.
class Parameter : public Tensor {
 public:
  Parameter();
  /// Takes the values over, without history. Floating dtypes only.
  explicit Parameter(const Tensor& values);
  Parameter(const Parameter& other);
  Parameter(Parameter&& other) noexcept;
  Parameter& operator=(const Parameter& other);
  Parameter& operator=(Parameter&& other);
  Parameter& operator=(const Tensor& values);
  ~Parameter();
  /// Number of defined or undefined Parameter objects alive in the program; for tests.
  static std::int64_t live_count();
};

/// State that is saved but not trained (running statistics, counters). Copies and assigns like a Parameter.
class Buffer : public Tensor {
 public:
  Buffer() = default;
  explicit Buffer(const Tensor& values);
  Buffer(const Buffer& other);
  Buffer(Buffer&& other) noexcept = default;
  Buffer& operator=(const Buffer& other);
  Buffer& operator=(Buffer&& other);
  Buffer& operator=(const Tensor& values);
  ~Buffer() = default;
};

/// Walks the parts of a module. Undefined parameters and buffers are skipped.
class PartVisitor {
 public:
  virtual ~PartVisitor() = default;
  virtual void parameter(std::string_view name, Parameter& parameter) = 0;
  virtual void buffer(std::string_view name, Buffer& buffer) = 0;
  virtual void module(std::string_view name, Module& module) = 0;
};

using NamedTensor = std::pair<std::string, Tensor>;
/// In the order of the parts lists.
using StateDict = std::vector<NamedTensor>;

struct LoadResult {
  std::vector<std::string> missing;     // wanted by the module, absent in the dictionary
  std::vector<std::string> unexpected;  // in the dictionary, unknown to the module
};

class Module {
 public:
  virtual ~Module() = default;

  /// Handles of all defined parameters, depth first, in the order of the parts lists.
  std::vector<Tensor> parameters();
  std::vector<NamedTensor> named_parameters();
  std::vector<NamedTensor> named_buffers();
  /// Parameters and buffers, detached handles on the same memory.
  StateDict state_dict();
  /// Writes the values. Strict: throws listing all missing, unexpected and differently shaped keys. On
  /// failure nothing has changed. Values are converted to the module's dtype and device.
  LoadResult load_state_dict(const StateDict& state, bool strict = true);

  /// Mode of this module and all below (dropout, batch statistics); trainability is requires_grad_.
  void train(bool training = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }
  /// Freezes (false) or thaws all parameters below.
  void requires_grad_(bool requires_grad = true);
  void zero_grad();
  /// Converts floating parameters and buffers; handles stay valid, gradients are dropped.
  void to(DType dtype);
  void to(Device device);
  std::int64_t parameter_count();
  /// A tree of parts with types, shapes and parameter counts.
  std::string to_string();

  /// Class name without namespaces, and extra text for printing ("in=3, out=4").
  std::string type_name() const;
  virtual std::string describe() const { return ""; }

  /// This module, or the one that it stands for (AnyLayer): whose mode and name count.
  virtual Module& held() { return *this; }

  // Written by NORMA_PARTS.
  virtual void visit_parts(PartVisitor& visitor) = 0;
  virtual std::size_t object_size() const = 0;

 private:
  bool training_ = true;
};

namespace detail {

void visit_part(PartVisitor& visitor, std::string_view name, Parameter& part);
void visit_part(PartVisitor& visitor, std::string_view name, Buffer& part);
void visit_part(PartVisitor& visitor, std::string_view name, Module& part);
template <class T>
void visit_part(PartVisitor& visitor, std::string_view name, std::unique_ptr<T>& part);
template <class T>
void visit_part(PartVisitor& visitor, std::string_view name, std::vector<T>& parts);
template <class T>
void visit_part(PartVisitor& visitor, std::string_view name, std::optional<T>& part) {
  if (part) visit_part(visitor, name, *part);
}
template <class T>
void visit_part(PartVisitor& visitor, std::string_view name, std::unique_ptr<T>& part) {
  if (part) visit_part(visitor, name, *part);
}
template <class T>
void visit_part(PartVisitor& visitor, std::string_view name, std::vector<T>& parts) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    visit_part(visitor, std::string(name) + "." + std::to_string(i), parts[i]);
  }
}

/// The next name of a comma-separated list of identifiers; throws Bug for an expression.
std::string_view next_part_name(std::string_view& names);

inline void visit_all(PartVisitor&, std::string_view) {}
template <class... Parts>
void visit_all(PartVisitor& visitor, std::string_view names, Parts&... parts) {
  (visit_part(visitor, next_part_name(names), parts), ...);
}

}  // namespace detail
}  // namespace norma::nn

/// Lists the parts of a module once: parameters, buffers, modules, and optionals, unique_ptrs and vectors of
/// them.
#define NORMA_PARTS(...)                                                              \
 public:                                                                              \
  void visit_parts([[maybe_unused]] ::norma::nn::PartVisitor& visitor) override {     \
    ::norma::nn::detail::visit_all(visitor, #__VA_ARGS__ __VA_OPT__(, ) __VA_ARGS__); \
  }                                                                                   \
  std::size_t object_size() const override { return sizeof(*this); }
