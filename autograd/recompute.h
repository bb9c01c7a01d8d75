// Memory for time: a part of a model keeps its inputs alone and is computed again in the backward pass.
//
//   Tensor y = checkpoint([&](const std::vector<Tensor>& in) { return block(in[0]); }, {x});
#pragma once

#include <functional>
#include <vector>

#include "autograd/tensor.h"

namespace norma {

/// y = fn(inputs), the same bits, and its gradients of any order (a tensor's contributions may be added in
/// another order), but nothing that fn saves is kept: the backward pass runs fn once more
/// (torch.utils.checkpoint; Chen et al. 2016, arXiv 1604.06174). That run draws from the calling thread's
/// default generator what the first one drew, so dropout masks are the same; an fn that draws from another
/// generator must set its state itself. Layers do not move their running statistics a second time
/// (Recomputation).
///
/// fn must give the same result for the same inputs, use its argument for what comes from `inputs`, and
/// outlive the graph with all that it refers to. Leaves that it reaches otherwise (parameters) get their
/// gradients. Throws when it reaches another recorded tensor; in the backward pass when an input or a
/// parameter was changed in place since, and when the second result has another shape. Inputs may be
/// undefined.
Tensor checkpoint(const std::function<Tensor(const std::vector<Tensor>&)>& fn,
                  const std::vector<Tensor>& inputs);

/// While checkpoint() runs its function again. A layer that changes its own state in a training call leaves
/// it alone then.
class Recomputation {
 public:
  static bool active();
};

namespace detail {

/// Gradients of y with respect to `inputs` as if they were independent variables: paths that lead from one
/// through another do not count. Undefined where there is none.
std::vector<Tensor> partial_gradients(const Tensor& y, const std::vector<Tensor>& inputs, const Tensor& dy,
                                      bool create_graph);

}  // namespace detail
}  // namespace norma
