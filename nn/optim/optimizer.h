// Optimizers: SGD, Adam, AdamW, with the names, defaults and formulas of torch.optim.
//
//   nn::AdamW optimizer(nn::decay_groups(model, 0.1), {.lr = 3e-4});
//   for (...) {
//     optimizer.zero_grad();
//     loss(model, batch).backward();
//     nn::clip_grad_norm_(model.parameters(), 1.0);
//     optimizer.set_lr(schedule(step));
//     optimizer.step();
//   }
//
// A step writes into the parameters in place, so a graph recorded before it can no longer go backward.
//
// A step of SGD, Adam and AdamW may be part of captured work (core/captured_work.h): the capture makes no
// step, each replay makes the next one. The first step cannot be captured; the optimizer must stay in place.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace norma {
class CapturedWork;
}

namespace norma::nn {

/// Parameters that share settings. What is absent is taken from the optimizer's options.
struct ParamGroup {
  std::vector<Tensor> parameters = {};
  std::optional<double> lr = {};            // >= 0
  std::optional<double> weight_decay = {};  // >= 0
};

/// What a checkpoint keeps of an optimizer. Tensors are called "state.<parameter>.<torch.optim's name>" and
/// numbers "state.<parameter>.step", "param_groups.<group>.lr" or "param_groups.<group>.weight_decay", where
/// parameters are counted through all groups.
struct OptimizerState {
  std::string type;  // "SGD", "Adam", ...
  StateDict tensors;
  std::vector<std::pair<std::string, double>> numbers;
};

/// Base of the optimizers; one of your own overrides type(), slot_names() and update(), and finish() where
/// update() puts work off.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;  // a copy would share its moments
  Optimizer& operator=(const Optimizer&) = delete;
  Optimizer(Optimizer&&) = default;
  Optimizer& operator=(Optimizer&&) = default;

  /// Updates every parameter that has a gradient and is not frozen. Throws Error for a gradient that does not
  /// fit, and for a step that cannot be captured; nothing has changed then.
  void step();
  /// Drops the gradients, so that a parameter without a part in the next backward pass is left alone.
  void zero_grad();

  /// Settings may be changed between steps; lr and weight_decay are always there.
  std::vector<ParamGroup>& groups() { return groups_; }
  void add_group(ParamGroup group);
  /// Learning rate of the first group, and of all groups.
  double lr() const;
  void set_lr(double lr);

  virtual std::string_view type() const = 0;
  /// Tensors are handles on the optimizer's own.
  OptimizerState state() const;
  /// Takes copies. Throws Error when type, groups, names or shapes do not fit; nothing has changed then.
  void load_state(const OptimizerState& state);

 protected:
  /// What an optimizer remembers of one parameter. Undefined tensors have not been needed yet.
  struct Slot {
    std::array<Tensor, 2> tensors;
    std::int64_t step = 0;  // updates made, this one included
  };

  /// What a replay of captured work makes of a step: nothing, step() throws in captured work; a step with the
  /// rates (lr and weight_decay) of the capture, the replay throws when they have changed; a step with the
  /// rates and the number that it has then.
  enum class Replay : std::uint8_t { none, fixed_rates, everything };

  Optimizer(std::vector<ParamGroup> groups, double lr, double weight_decay);

  virtual Replay replay() const { return Replay::none; }
  /// Slots by their place among the parameters of all groups; the number of the group there, and its rates.
  std::size_t place_of(const Slot& slot) const { return static_cast<std::size_t>(&slot - slots_.data()); }
  const Slot& slot_at(std::size_t place) const { return slots_[place]; }
  std::size_t group_at(std::size_t place) const;
  struct Rates {
    double lr, weight_decay;
    friend bool operator==(const Rates&, const Rates&) = default;
  };
  Rates rates_of(const ParamGroup& group) const {
    return {group.lr.value_or(default_lr_), group.weight_decay.value_or(default_weight_decay_)};
  }
  Rates rates_at(std::size_t place) const { return rates_of(groups_[group_at(place)]); }

  /// Names of a slot's tensors, for state().
  virtual std::span<const char* const> slot_names() const = 0;
  /// One update, without recording; the parameter is a detached handle on the same memory.
  virtual void update(const Tensor& parameter, const Tensor& gradient, Slot& slot, double lr,
                      double weight_decay) = 0;
  /// Called after the last update() of a step.
  virtual void finish() {}

 private:
  std::string describe(std::size_t parameter) const;
  void check_step() const;
  void follow_replays(CapturedWork& work, std::size_t place, const Tensor& parameter);
  void load_tensor(std::vector<Slot>& slots, const std::string& name, const Tensor& tensor) const;
  void load_number(std::vector<Slot>& slots, std::vector<ParamGroup>& groups, const std::string& name,
                   double value) const;

  std::vector<ParamGroup> groups_;
  std::vector<Slot> slots_;  // of the parameters of all groups
  double default_lr_, default_weight_decay_;
};

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;      // >= 0
  double dampening = 0;     // of the gradient's share in the momentum buffer
  double weight_decay = 0;  // added to the gradient
  bool nesterov = false;    // needs momentum > 0 and dampening = 0
};

/// d = gradient + weight_decay * p; b = d at the first step, then momentum * b + (1 - dampening) * d;
/// p -= lr * (nesterov ? d + momentum * b : b), or lr * d without momentum (Sutskever et al., ICML 2013, in
/// the form of torch.optim.SGD: the rate stands outside the buffer).
class SGD final : public Optimizer {
 public:
  explicit SGD(std::vector<Tensor> parameters, SGDOptions options = {});
  explicit SGD(std::vector<ParamGroup> groups, SGDOptions options = {});
  std::string_view type() const override { return "SGD"; }

 protected:
  Replay replay() const override { return Replay::fixed_rates; }
  std::span<const char* const> slot_names() const override;
  void update(const Tensor& parameter, const Tensor& gradient, Slot& slot, double lr,
              double weight_decay) override;

 private:
  SGDOptions options_;
};

struct AdamSettings {
  double lr = 1e-3;
  std::pair<double, double> betas = {0.9, 0.999};  // each in [0, 1)
  double eps = 1e-8;                               // outside the square root
  double weight_decay = 0;
};
struct AdamWSettings {
  double lr = 1e-3;
  std::pair<double, double> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 1e-2;
};

/// Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1; the decay is added to the gradient.
class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<Tensor> parameters, AdamSettings settings = {});
  explicit Adam(std::vector<ParamGroup> groups, AdamSettings settings = {});
  std::string_view type() const override { return "Adam"; }

 protected:
  Adam(std::vector<ParamGroup> groups, AdamSettings settings, bool decoupled);
  Replay replay() const override { return Replay::everything; }
  std::span<const char* const> slot_names() const override;
  void update(const Tensor& parameter, const Tensor& gradient, Slot& slot, double lr,
              double weight_decay) override;
  void finish() override;

 private:
  struct Update {
    Tensor parameter, gradient, m, v;
    AdamOptions options;
    std::size_t place;
  };
  AdamOptions options_of(std::int64_t step, double lr, double weight_decay) const;
  void run(std::span<const Update> alike);
  bool run_kernel(std::span<const Update> alike, std::span<const AdamTensors> all);

  std::vector<Update> updates_;  // of the step that runs: kernels take many at once
  AdamSettings settings_;
  bool decoupled_;
};

/// Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2: the decay shrinks the weights by 1 - lr *
/// weight_decay, apart from the gradient.
class AdamW final : public Adam {
 public:
  explicit AdamW(std::vector<Tensor> parameters, AdamWSettings settings = {});
  explicit AdamW(std::vector<ParamGroup> groups, AdamWSettings settings = {});
  std::string_view type() const override { return "AdamW"; }
};

/// Two groups: weights that mix features (linear, convolution, embedding), with this decay, and the rest
/// (biases, norm gains, temperatures), with none. A weight is a parameter with two axes or more, not called
/// bias, that is no part of a module whose type name contains "Norm", and that has at least two axes longer
/// than 1 unless its name ends in "weight".
std::vector<ParamGroup> decay_groups(Module& module, double weight_decay);

}  // namespace norma::nn
