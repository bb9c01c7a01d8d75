#include "nn/optim/optimizer.h"

#include <charconv>
#include <cmath>

#include "core/captured_work.h"
#include "core/profile.h"

namespace norma::nn {
namespace {

void check_rate(const char* what, double value) {
  NORMA_CHECK(std::isfinite(value) && value >= 0, "optimizer: ", what, " must be finite and >= 0, got ",
              value);
}

void check_parameter(const Tensor& parameter, std::size_t place) {
  NORMA_CHECK(parameter.defined(), "optimizer: parameter ", place, " of the group is undefined");
  NORMA_CHECK(is_floating(parameter.dtype()), "optimizer: parameter ", place,
              " of the group must be floating, got ", parameter.dtype());
  NORMA_CHECK(parameter.is_leaf(), "optimizer: parameter ", place, " of the group is the result of ",
              parameter.op_name(), "; only leaves can be updated");
}

// "<prefix><number>.<rest>" -> number and rest; nothing when the name is not of this form.
struct Numbered {
  std::size_t number;
  std::string_view rest;
};
std::optional<Numbered> numbered(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return {};
  name.remove_prefix(prefix.size());
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const auto digits = static_cast<std::size_t>(end - name.data());
  if (error != std::errc() || digits == name.size() || name[digits] != '.') return {};
  return Numbered{number, name.substr(digits + 1)};
}

/// Where an update works.
std::array<const void*, 3> memory_of(const Tensor& parameter, const std::array<Tensor, 2>& tensors) {
  const auto data = [](const Tensor& x) -> const void* {
    return x.defined() ? x.array().view().data : nullptr;
  };
  return {data(parameter), data(tensors[0]), data(tensors[1])};
}

}  // namespace

Optimizer::Optimizer(std::vector<ParamGroup> groups, double lr, double weight_decay)
    : default_lr_(lr), default_weight_decay_(weight_decay) {
  for (ParamGroup& group : groups) add_group(std::move(group));
}

void Optimizer::add_group(ParamGroup group) {
  group.lr = group.lr.value_or(default_lr_);
  group.weight_decay = group.weight_decay.value_or(default_weight_decay_);
  check_rate("lr", *group.lr);
  check_rate("weight_decay", *group.weight_decay);
  for (std::size_t i = 0; i < group.parameters.size(); ++i) {
    const Tensor& parameter = group.parameters[i];
    check_parameter(parameter, i);
    for (std::size_t j = 0; j < i; ++j) {
      NORMA_CHECK(!parameter.is_same(group.parameters[j]), "optimizer: parameters ", j, " and ", i,
                  " of the group are the same tensor");
    }
    for (const ParamGroup& other : groups_) {
      for (const Tensor& taken : other.parameters) {
        NORMA_CHECK(!parameter.is_same(taken), "optimizer: parameter ", i,
                    " of the group is in another group already");
      }
    }
  }
  slots_.resize(slots_.size() + group.parameters.size());
  groups_.push_back(std::move(group));
}

double Optimizer::lr() const {
  NORMA_CHECK(!groups_.empty(), "optimizer: there is no group to take lr from");
  return *groups_.front().lr;
}

void Optimizer::set_lr(double lr) {
  check_rate("lr", lr);
  for (ParamGroup& group : groups_) group.lr = lr;
}

std::string Optimizer::describe(std::size_t parameter) const {
  return norma::detail::concat(type(), ": parameter ", parameter);
}

void Optimizer::check_step() const {
  std::size_t place = 0;
  for (const ParamGroup& group : groups_) {
    for (const Tensor& parameter : group.parameters) {
      NORMA_CHECK(place < slots_.size(), type(), ": parameters were added to a group; use add_group");
      const Tensor gradient = parameter.grad();
      NORMA_CHECK(!gradient.defined() || !parameter.requires_grad() || gradient.shape() == parameter.shape(),
                  describe(place), " of shape ", parameter.shape(), " has a gradient of shape ",
                  gradient.shape());
      if (gradient.defined() && CapturedWork::current(parameter.device()) != nullptr) {
        NORMA_CHECK(replay() != Replay::none, type(), ": a step cannot be part of captured work");
        bool settled = slots_[place].step > 0;
        for (const Tensor& tensor : slots_[place].tensors) {
          settled = settled && (!tensor.defined() || (tensor.dtype() == parameter.dtype() &&
                                                      tensor.device() == parameter.device()));
        }
        NORMA_CHECK(settled, describe(place),
                    ": its first step cannot be part of captured work; make one before the capture");
      }
      ++place;
    }
  }
}

std::size_t Optimizer::group_at(std::size_t place) const {
  std::size_t group = 0;
  while (place >= groups_[group].parameters.size()) place -= groups_[group++].parameters.size();
  return group;
}

/// Each replay is a step: its number counts on, and values that were saved from the parameter are stale.
void Optimizer::follow_replays(CapturedWork& work, std::size_t place, const Tensor& parameter) {
  const auto check = [this, place, parameter, memory = memory_of(parameter, slots_[place].tensors),
                      rates = rates_at(place)] {
    NORMA_CHECK(memory_of(parameter, slots_[place].tensors) == memory, describe(place),
                " or what is remembered of it has moved since the capture; capture the step anew");
    NORMA_CHECK(replay() == Replay::everything || rates_at(place) == rates, type(),
                ": lr and weight_decay were captured with the step; capture it anew to change them");
  };
  const auto action = [this, place, parameter] {
    ++slots_[place].step;
    parameter.array().bump_version();
  };
  work.before_replay(action, check);
}

void Optimizer::step() {
  const ProfileSection section("optimizer step");
  check_step();
  const NoGrad no_grad;
  std::size_t place = 0;
  for (const ParamGroup& group : groups_) {
    const auto [lr, weight_decay] = rates_of(group);
    for (const Tensor& parameter : group.parameters) {
      Slot& slot = slots_[place++];
      const Tensor gradient = parameter.grad();
      if (!gradient.defined() || !parameter.requires_grad()) continue;
      for (Tensor& tensor : slot.tensors) {  // the model may have been converted since
        if (tensor.defined()) tensor = tensor.to(parameter.dtype()).to(parameter.device());
      }
      ++slot.step;
      update(parameter.detach(), gradient.detach(), slot, lr, weight_decay);
      if (CapturedWork* const work = CapturedWork::current(parameter.device())) {
        --slot.step;  // no step was made
        follow_replays(*work, place - 1, parameter);
      }
    }
  }
  finish();
}

void Optimizer::zero_grad() {
  for (const ParamGroup& group : groups_) {
    for (const Tensor& parameter : group.parameters) parameter.zero_grad();
  }
}

OptimizerState Optimizer::state() const {
  OptimizerState state{std::string(type()), {}, {}};
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const std::string prefix = norma::detail::concat("param_groups.", g, ".");
    state.numbers.emplace_back(prefix + "lr", *groups_[g].lr);
    state.numbers.emplace_back(prefix + "weight_decay", *groups_[g].weight_decay);
  }
  const auto names = slot_names();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].step == 0) continue;
    const std::string prefix = norma::detail::concat("state.", i, ".");
    state.numbers.emplace_back(prefix + "step", static_cast<double>(slots_[i].step));
    for (std::size_t t = 0; t < names.size(); ++t) {
      if (slots_[i].tensors[t].defined()) state.tensors.emplace_back(prefix + names[t], slots_[i].tensors[t]);
    }
  }
  return state;
}

void Optimizer::load_tensor(std::vector<Slot>& slots, const std::string& name, const Tensor& tensor) const {
  const auto parts = numbered(name, "state.");
  NORMA_CHECK(parts && parts->number < slots.size(), type(), ": no parameter has the state \"", name, "\"");
  const auto names = slot_names();
  std::size_t t = 0;
  while (t < names.size() && names[t] != parts->rest) ++t;
  NORMA_CHECK(t < names.size(), type(), ": no parameter has the state \"", name, "\"");
  std::size_t place = parts->number;
  std::size_t group = 0;
  while (place >= groups_[group].parameters.size()) place -= groups_[group++].parameters.size();
  const Tensor& parameter = groups_[group].parameters[place];
  NORMA_CHECK(tensor.defined() && tensor.shape() == parameter.shape(), type(), ": \"", name,
              "\" must have the parameter's shape ", parameter.shape(), ", got ",
              tensor.defined() ? norma::detail::text(tensor.shape()) : std::string("an undefined tensor"));
  slots[parts->number].tensors[t] = tensor.detach().to(parameter.dtype()).to(parameter.device()).clone();
}

void Optimizer::load_number(std::vector<Slot>& slots, std::vector<ParamGroup>& groups,
                            const std::string& name, double value) const {
  if (const auto parts = numbered(name, "state."); parts && parts->rest == "step") {
    NORMA_CHECK(parts->number < slots.size(), type(), ": no parameter has the state \"", name, "\"");
    NORMA_CHECK(value >= 1 && value < 0x1p53 && value == std::floor(value), type(), ": \"", name,
                "\" must be a count of at least 1, got ", value);
    slots[parts->number].step = static_cast<std::int64_t>(value);
    return;
  }
  const auto parts = numbered(name, "param_groups.");
  NORMA_CHECK(parts && (parts->rest == "lr" || parts->rest == "weight_decay"), type(), ": unknown number \"",
              name, "\"");
  NORMA_CHECK(parts->number < groups.size(), type(), ": there are ", groups.size(), " groups, \"", name,
              "\" does not fit");
  check_rate(name.c_str(), value);
  ParamGroup& group = groups[parts->number];
  (parts->rest == "lr" ? group.lr : group.weight_decay) = value;
}

void Optimizer::load_state(const OptimizerState& state) {
  NORMA_CHECK(state.type == type(), type(), ": the state was saved by ", state.type);
  const NoGrad no_grad;
  std::vector<Slot> slots(slots_.size());
  std::vector<ParamGroup> groups = groups_;
  for (ParamGroup& group : groups) group.lr = group.weight_decay = std::nullopt;
  for (const auto& [name, tensor] : state.tensors) load_tensor(slots, name, tensor);
  for (const auto& [name, value] : state.numbers) load_number(slots, groups, name, value);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    NORMA_CHECK(groups[g].lr && groups[g].weight_decay, type(),
                ": the state has no lr and weight_decay of group ", g, "; it was saved with other groups");
  }
  for (std::size_t i = 0; i < slots.size(); ++i) {
    bool any = false;
    for (const Tensor& tensor : slots[i].tensors) any = any || tensor.defined();
    NORMA_CHECK(!any || slots[i].step > 0, describe(i), " has saved tensors, but no \"state.", i, ".step\"");
  }
  slots_ = std::move(slots);
  groups_ = std::move(groups);
}

}  // namespace norma::nn
