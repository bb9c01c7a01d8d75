// What the worker of `make bench-peers` can be asked to do. A name is an op and its extents,
// "layer_norm/8192,768"; torch_work.py and libtorch/worker.cpp know the same names, and draw the same inputs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/module.h"

namespace norma::peers {

using Extents = std::vector<std::int64_t>;

struct Work {
  std::function<void()> run;  // once
  /// What the other side must agree with, by name; computed anew. Called before the first run.
  std::function<nn::StateDict()> results;
};

/// Throws Error for a name that is none.
Work make_work(const std::string& name);

// Makers, called by make_work: nothing (`run` is empty) for an op that is not theirs.
Work make_op(const std::string& op, const Extents& extents);
Work make_norm(const std::string& op, const Extents& extents);
Work make_training(const std::string& op, const Extents& extents);
Work make_tiny(const std::string& op, const Extents& extents);
Work make_basic(const std::string& op, const Extents& extents);

/// Where inputs and models are from now on; the CPU at start.
void set_device(Device device);
Device device();

/// The same numbers on every side, but for a rounding: element i of the tensor `name` is shift + scale u, u
/// in [-1, 1) a hash of i and the name.
Tensor numbers(std::string_view name, const Shape& shape, float scale = 1, float shift = 0);
/// Hashes in [0, limit), i64.
Tensor indices(std::string_view name, const Shape& shape, std::int64_t limit);
/// The same with a gradient wanted.
Tensor leaf(std::string_view name, const Shape& shape, float scale = 1, float shift = 0);

/// y = f() and the gradients of the leaves, which are forgotten before the next run. dy: "dy" of y's shape,
/// or 1 for a y of one element.
Work forward_and_backward(std::vector<nn::NamedTensor> leaves, std::function<Tensor()> f);

}  // namespace norma::peers
