#include "nn/convolution.h"
#include "nn/linear.h"
#include "nn/norm/mean_only_batch_norm.h"
#include "nn/norm/spectral_norm.h"
#include "nn/norm/weight_norm.h"
#include "nn/norm/whitening.h"
#include "tests/nn/layer_row.h"

namespace norma::tests {
namespace {

using namespace nn;

void add_weight_norms(std::vector<LayerRow>& rows) {
  const std::vector<std::string> keys{"weight_g", "weight_v", "bias"};
  const Inputs x{normal({3, 4})}, line{normal({2, 4, 5})}, plane{normal({2, 2, 4, 3})};
  rows.push_back(row(
      "WeightNorm", [] { return WeightNorm(Linear(4, 5)); }, x, keys, 1,
      {{{normal({2, 3})}, "Linear: the last axis of x must have extent 4 (in_features), got shape [2, 3]"},
       {{Tensor()}, "undefined"}}));
  rows.push_back(row(
      "WeightNorm without bias, one length", [] { return WeightNorm(Linear(4, 5, false), {.dim = -1}); }, x,
      {"weight_g", "weight_v"}, 2));
  rows.push_back(row(
      "WeightNorm of Conv1d, last axis", [] { return WeightNorm(Conv1d(4, 3, 2), {.dim = 2}); }, line, keys,
      1));
  rows.push_back(row("WeightNorm of Conv2d", [] { return WeightNorm(Conv2d(2, 3, 2, {.padding = 1})); },
                     plane, keys, 1, {{{normal({2, 3, 4, 3})}, "conv2d: x [2, 3, 4, 3] has 3 channels"}}));
}

void add_others(std::vector<LayerRow>& rows) {
  const Inputs x{normal({3, 4})}, line{normal({2, 4, 5})}, batch{normal({7, 4})};
  const std::vector<std::string> spectral{"weight_orig", "weight_u", "weight_v", "bias"};
  rows.push_back(row("SpectralNorm",
                     [] {
                       manual_seed(1);
                       return SpectralNorm(Linear(4, 5));
                     },
                     x, spectral, 1, {{{normal({2, 3})}, "Linear: the last axis of x must have extent 4"}}));
  rows.push_back(row(
      "SpectralNorm of Conv1d, other axis",
      [] {
        manual_seed(1);
        return SpectralNorm(Conv1d(4, 3, 2, {}, false), {.n_power_iterations = 2, .dim = 1});
      },
      line, {"weight_orig", "weight_u", "weight_v"}, 2));
  const std::vector<std::string> tracked{"weight", "bias", "running_mean", "running_whitening",
                                         "num_batches_tracked"};
  const std::vector<WrongInput> wrong{
      {{normal({7, 3})},
       "DecorrelatedBatchNorm: axis 1 of x must have extent 4 (channels), got shape [7, 3]"},
      {{Tensor()}, "undefined"},
      {{normal({7, 4}).to(f32)}, "DecorrelatedBatchNorm: x must be f64 on cpu, got f32"}};
  rows.push_back(row(
      "DecorrelatedBatchNorm", [] { return DecorrelatedBatchNorm(4); }, line, tracked, 0, wrong));
  rows.push_back(row("DecorrelatedBatchNorm by batch, in groups",
                     [] {
                       return DecorrelatedBatchNorm(
                           {.num_features = 4, .group_size = 2, .eps = 0.1, .track_running_stats = false});
                     },
                     line, {"weight", "bias"}));
  rows.push_back(row(
      "DecorrelatedBatchNorm by batch, without affine",
      [] {
        return DecorrelatedBatchNorm(
            {.num_features = 4, .iterations = 3, .affine = false, .track_running_stats = false});
      },
      batch, {}, 2));
  rows.push_back(row(
      "MeanOnlyBatchNorm", [] { return MeanOnlyBatchNorm(4); }, line,
      {"bias", "running_mean", "num_batches_tracked"}, 0,
      {{{normal({4})}, "MeanOnlyBatchNorm: x must have at least 2 axes [n, 4, spatial..], got shape [4]"}}));
}

}  // namespace

std::vector<LayerRow> weight_layer_rows() {
  std::vector<LayerRow> rows;
  add_weight_norms(rows);
  add_others(rows);
  return rows;
}

}  // namespace norma::tests
