#include "nn/attention_record.h"

#include <cmath>
#include <limits>

namespace norma::nn {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t query_block = 64;

/// [.., heads, length, d] as [batch, heads, length, d].
Tensor four_axes(const Tensor& x) {
  std::int64_t batch = 1;
  for (int axis = 0; axis < x.dim() - 3; ++axis) batch *= x.size(axis);
  return x.reshape({batch, x.size(-3), x.size(-2), x.size(-1)});
}

/// Key heads repeated so that there is one for each query head.
Tensor spread_heads(const Tensor& k, std::int64_t heads) {
  const std::int64_t batch = k.size(0), kv_heads = k.size(1), group = heads / kv_heads;
  return k.unsqueeze(2)
      .expand({batch, kv_heads, group, k.size(2), k.size(3)})
      .reshape({batch, heads, k.size(2), k.size(3)});
}

/// Adds up a call's rows, block by block.
class Sums {
 public:
  Sums(std::int64_t heads, double saturated_above)
      : entropy_(zeros({heads}, f64)),
        largest_(full({heads}, -infinity, f64)),
        saturated_(zeros({heads}, f64)),
        rows_(zeros({heads}, f64)),
        above_(saturated_above) {}

  /// scores [batch, heads, queries, keys], -inf where masked.
  void add(const Tensor& scores) {
    const Tensor top = scores.amax(-1, keepdim);
    const Tensor dead = top == -infinity;
    const Tensor p = softmax(scores.masked_fill(dead, 0), -1).masked_fill(dead, 0);
    const Tensor log_p = p.masked_fill(p == 0, 1).log();
    entropy_ = entropy_ - (p * log_p).sum({0, 2, 3});
    largest_ = maximum(largest_, top.amax({0, 2, 3}));
    saturated_ = saturated_ + (p.amax(-1) > above_).to(f64).sum({0, 2});
    rows_ = rows_ + logical_not(dead).to(f64).sum({0, 2, 3});
  }

  AttentionRecord result(Device device) const {
    const Tensor rows = maximum(rows_, ones_like(rows_));
    return {(entropy_ / rows).to(device), largest_.to(device), (saturated_ / rows).to(device)};
  }

 private:
  Tensor entropy_, largest_, saturated_, rows_;
  double above_;
};

/// Scores of queries first .. first + count - 1, in f64, -inf where they may not attend.
Tensor masked_scores(const Tensor& q, const Tensor& k, const Tensor& mask, const SdpaOptions& options,
                     std::int64_t first, std::int64_t count) {
  Tensor scores = q.narrow(2, first, count).matmul(k.transpose(-1, -2)) *
                  options.scale.value_or(1 / std::sqrt(static_cast<double>(q.size(-1))));
  if (options.cap > 0) scores = softcap(scores, options.cap);
  if (mask.defined()) {
    const Tensor part = mask.narrow(-2, first, count);
    scores =
        part.dtype() == boolean ? scores.masked_fill(logical_not(part), -infinity) : scores + part.to(f64);
  }
  if (!options.causal) return scores;
  const std::int64_t queries = q.size(2), keys = k.size(2);
  const auto last = static_cast<double>(first + keys - queries);
  const Tensor limit = arange(last, last + static_cast<double>(count)).unsqueeze(1);
  return scores.masked_fill(arange(0, static_cast<double>(keys)) > limit, -infinity);
}

}  // namespace

AttentionRecord record_attention(const Tensor& q, const Tensor& k, const SdpaOptions& options,
                                 double saturated_above) {
  NORMA_CHECK(q.defined() && k.defined() && q.dim() >= 3 && k.dim() == q.dim() && k.size(-3) > 0 &&
                  q.size(-3) % k.size(-3) == 0 && q.size(-1) == k.size(-1),
              "record_attention: q must be [.., heads, length, d] and k [.., kv_heads, length, d], got ",
              q.defined() ? q.shape() : Shape(), " and ", k.defined() ? k.shape() : Shape());
  const NoGrad guard;
  const Tensor queries = four_axes(q.detach()).to(cpu).to(f64);
  const Tensor keys = spread_heads(four_axes(k.detach()).to(cpu).to(f64), queries.size(1));
  Tensor mask = options.mask;
  if (mask.defined()) mask = four_axes(mask.detach().to(cpu).expand(q.shape().with(-1, k.size(-2))));
  Sums sums(queries.size(1), saturated_above);
  for (std::int64_t first = 0; first < queries.size(2) && keys.size(2) > 0; first += query_block) {
    const std::int64_t count = std::min(query_block, queries.size(2) - first);
    sums.add(masked_scores(queries, keys, mask, options, first, count));
  }
  return sums.result(q.device());
}

}  // namespace norma::nn
