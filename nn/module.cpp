// What a module can do with its parts: each function is one small walk.
#include "nn/module.h"

#include <cxxabi.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <typeindex>
#include <typeinfo>

#include "autograd/node.h"
#include "nn/parameter_registry.h"

namespace norma::nn {
namespace {

constexpr auto ignore = [](auto&&...) {};

// Calls the functions with (full name, part), depth first; modules before their parts.
template <class OnParameter, class OnBuffer, class OnModule>
class Walk final : public PartVisitor {
 public:
  Walk(OnParameter on_parameter, OnBuffer on_buffer, OnModule on_module)
      : on_parameter_(on_parameter), on_buffer_(on_buffer), on_module_(on_module) {}
  void parameter(std::string_view name, Parameter& part) override { on_parameter_(full(name), part); }
  void buffer(std::string_view name, Buffer& part) override { on_buffer_(full(name), part); }
  void module(std::string_view name, Module& part) override {
    const std::size_t length = prefix_.size();
    prefix_.append(name);
    on_module_(prefix_, part);
    prefix_.push_back('.');
    part.visit_parts(*this);
    prefix_.resize(length);
  }

 private:
  std::string full(std::string_view name) const { return prefix_ + std::string(name); }
  std::string prefix_;
  OnParameter on_parameter_;
  OnBuffer on_buffer_;
  OnModule on_module_;
};

template <class OnParameter, class OnBuffer = decltype(ignore), class OnModule = decltype(ignore)>
void walk(Module& root, OnParameter on_parameter, OnBuffer on_buffer = ignore, OnModule on_module = ignore) {
  Walk visitor(on_parameter, on_buffer, on_module);
  root.visit_parts(visitor);
}

// True the first time that it is asked about a type.
bool is_new_type(const Module& module, bool remember) {
  static std::mutex mutex;
  static auto* const seen = new std::set<std::type_index>;
  const std::lock_guard lock(mutex);
  if (remember) return seen->insert(typeid(module)).second;
  return !seen->contains(typeid(module));
}

// Every defined parameter that lies inside a module object must be reached through its parts.
void check_parts(Module& root) {
  std::set<const Parameter*> visited;
  std::vector<Module*> modules{&root};
  walk(
      root, [&](const std::string&, Parameter& part) { visited.insert(&part); }, ignore,
      [&](const std::string&, Module& part) { modules.push_back(&part.held()); });
  for (Module* module : modules) {
    if (!is_new_type(*module, false)) continue;
    for (const Parameter* part :
         detail::live_parameters(dynamic_cast<const void*>(module), module->object_size())) {
      NORMA_CHECK(!part->defined() || visited.contains(part), module->type_name(), ": a parameter of shape ",
                  part->shape(), " is a member (or inside a member) that NORMA_PARTS does not list");
    }
    is_new_type(*module, true);
  }
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

// One line for a module without modules below, else a line for each:
//   Mlp(  # 43 parameters
//     (up): Linear(in_features=3, out_features=4, bias=true)  # 16 parameters: weight [4, 3], bias [4]
class Printer final : public PartVisitor {
 public:
  void parameter(std::string_view name, Parameter& part) override { tensor(name, part); }
  void buffer(std::string_view name, Buffer& part) override { tensor(name, part); }
  void module(std::string_view name, Module& part) override {
    children_.push_back("(" + std::string(name) + "): " + print(part.held(), depth_ + 1));
  }

  static std::string print(Module& module, int depth) {
    Printer printer;
    printer.depth_ = depth;
    module.visit_parts(printer);
    std::string out = module.type_name() + "(" + module.describe();
    if (printer.children_.empty()) out += ")";
    const std::int64_t count = module.parameter_count();
    if (count > 0 || !printer.tensors_.empty()) {
      out += "  # " + std::to_string(count) + (count == 1 ? " parameter" : " parameters");
      if (!printer.tensors_.empty()) out += ": " + joined(printer.tensors_);
    }
    if (printer.children_.empty()) return out;
    const std::string indent(static_cast<std::size_t>(2 * depth), ' ');
    for (const std::string& child : printer.children_) out += "\n" + indent + "  " + child;
    return out + "\n" + indent + ")";
  }

 private:
  void tensor(std::string_view name, const Tensor& part) {
    tensors_.push_back(norma::detail::concat(name, " ", part.shape()));
  }
  std::vector<std::string> tensors_;
  std::vector<std::string> children_;
  int depth_ = 0;
};

// Replaces the memory of a tensor; its handles stay valid.
void replace(const Tensor& x, Array array) {
  x.zero_grad();
  x.state()->seen_version = array.version();
  x.state()->array = std::move(array);
}

using Values = std::map<std::string_view, const Tensor*>;

Values by_name(const StateDict& state) {
  Values values;
  for (const auto& [name, value] : state) {
    NORMA_CHECK(value.defined(), "load_state_dict: \"", name, "\" is an undefined tensor");
    NORMA_CHECK(values.emplace(name, &value).second, "load_state_dict: \"", name, "\" is given twice");
  }
  return values;
}

void fail_load(const LoadResult& keys, const std::vector<std::string>& shapes) {
  std::string message = "load_state_dict:";
  if (!keys.missing.empty()) message += " missing keys: " + joined(keys.missing) + ";";
  if (!keys.unexpected.empty()) message += " unexpected keys: " + joined(keys.unexpected) + ";";
  if (!shapes.empty()) message += " wrong shapes: " + joined(shapes) + ";";
  throw Error(message + " nothing was loaded");
}

}  // namespace

std::vector<Tensor> Module::parameters() {
  if (detail::tracks_parameters) check_parts(*this);
  std::vector<Tensor> found;
  walk(*this, [&](const std::string&, Parameter& part) { found.push_back(part); });
  return found;
}

std::vector<NamedTensor> Module::named_parameters() {
  if (detail::tracks_parameters) check_parts(*this);
  std::vector<NamedTensor> found;
  walk(*this, [&](std::string name, Parameter& part) { found.emplace_back(std::move(name), part); });
  return found;
}

std::vector<NamedTensor> Module::named_buffers() {
  std::vector<NamedTensor> found;
  walk(*this, ignore, [&](std::string name, Buffer& part) { found.emplace_back(std::move(name), part); });
  return found;
}

StateDict Module::state_dict() {
  StateDict found;
  const auto add = [&](std::string name, Tensor& part) {
    found.emplace_back(std::move(name), part.detach());
  };
  walk(*this, add, add);
  return found;
}

LoadResult Module::load_state_dict(const StateDict& state, bool strict) {
  Values values = by_name(state);
  LoadResult result;
  std::vector<std::string> wrong_shapes;
  std::vector<std::pair<Array, Array>> writes;  // to, from: converted before the first write, so that a
                                                // conversion that fails leaves the module as it is
  for (const auto& [name, target] : state_dict()) {
    const auto found = values.find(name);
    if (found == values.end()) {
      result.missing.push_back(name);
      continue;
    }
    const Array& value = found->second->array();
    values.erase(found);
    if (value.shape() == target.shape()) {
      writes.emplace_back(target.array(), value.to(target.dtype()).to(target.device()));
    } else {
      wrong_shapes.push_back(
          norma::detail::concat(name, " must be ", target.shape(), ", got ", value.shape()));
    }
  }
  for (const auto& [name, value] : state) {
    if (values.contains(name)) result.unexpected.push_back(name);
  }
  const bool keys_differ = !result.missing.empty() || !result.unexpected.empty();
  if (!wrong_shapes.empty() || (strict && keys_differ)) fail_load(result, wrong_shapes);
  for (const auto& [to, from] : writes) to.copy_from(from);
  return result;
}

void Module::train(bool training) {
  training_ = training;
  held().training_ = training;
  walk(*this, ignore, ignore, [&](const std::string&, Module& part) {
    part.training_ = training;
    part.held().training_ = training;
  });
}

void Module::requires_grad_(bool requires_grad) {
  walk(*this, [&](const std::string&, Parameter& part) { part.set_requires_grad(requires_grad); });
}

void Module::zero_grad() {
  walk(*this, [](const std::string&, Parameter& part) { part.zero_grad(); });
}

void Module::to(DType dtype) {
  NORMA_CHECK(is_floating(dtype), "to: a module needs a floating dtype, got ", dtype);
  const auto convert = [&](const std::string&, Tensor& part) {
    if (is_floating(part.dtype()) && part.dtype() != dtype) replace(part, part.array().to(dtype));
  };
  walk(*this, convert, convert);
}

void Module::to(Device device) {
  const auto move = [&](const std::string&, Tensor& part) {
    if (part.device() != device) replace(part, part.array().to(device));
  };
  walk(*this, move, move);
}

std::int64_t Module::parameter_count() {
  std::int64_t count = 0;
  walk(*this, [&](const std::string&, Parameter& part) { count += part.numel(); });
  return count;
}

std::string Module::to_string() { return Printer::print(held(), 0); }

std::string Module::type_name() const {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status), &std::free);
  std::string name = status == 0 ? text.get() : typeid(*this).name();
  const std::size_t scope = name.rfind("::", name.find('<'));
  return scope == std::string::npos ? name : name.substr(scope + 2);
}

namespace detail {

void visit_part(PartVisitor& visitor, std::string_view name, Parameter& part) {
  if (part.defined()) visitor.parameter(name, part);
}
void visit_part(PartVisitor& visitor, std::string_view name, Buffer& part) {
  if (part.defined()) visitor.buffer(name, part);
}
void visit_part(PartVisitor& visitor, std::string_view name, Module& part) { visitor.module(name, part); }

std::string_view next_part_name(std::string_view& names) {
  constexpr std::string_view space = " \t\n";
  const std::string_view whole = names;
  std::string_view name = names.substr(0, names.find(','));
  names.remove_prefix(std::min(names.size(), name.size() + 1));
  name.remove_prefix(std::min(name.size(), name.find_first_not_of(space)));
  name = name.substr(0, name.find_last_not_of(space) + 1);
  const bool is_identifier = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_';
  });
  if (!is_identifier)
    throw Bug(norma::detail::concat("NORMA_PARTS: lists members by name only, got \"", whole, "\""));
  return name;
}

}  // namespace detail
}  // namespace norma::nn
