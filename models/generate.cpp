#include "models/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops.h"

namespace norma::models {
namespace {

void check(const SamplingOptions& o) {
  NORMA_CHECK(std::isfinite(o.temperature) && o.temperature >= 0,
              "sample: temperature must be finite and >= 0, got ", o.temperature);
  NORMA_CHECK(o.top_k >= 0, "sample: top_k must be >= 0, got ", o.top_k);
  NORMA_CHECK(o.top_p > 0 && o.top_p <= 1, "sample: top_p must lie in (0, 1], got ", o.top_p);
}

// All rows advance together: the tokens seen so far, and the window of them that the model looks at.
class Writer {
 public:
  Writer(Gpt& model, const Array& prompts, bool cached)
      : model_(model), rows_(prompts.shape()[0]), cached_(cached), cache_(model.make_cache()) {
    const auto values = prompts.to_vector<std::int64_t>();
    const auto length = static_cast<std::size_t>(prompts.shape()[1]);
    for (std::size_t row = 0; row < static_cast<std::size_t>(rows_); ++row) {
      tokens_.emplace_back(values.begin() + static_cast<std::ptrdiff_t>(row * length),
                           values.begin() + static_cast<std::ptrdiff_t>((row + 1) * length));
    }
    length_ = prompts.shape()[1];
    begin_ = std::max<std::int64_t>(0, length_ - model.options().context);
  }

  // Logits of the next token, [rows, vocabulary].
  std::vector<float> next_logits() {
    const std::int64_t context = model_.options().context;
    if (length_ - begin_ > context) {
      begin_ = length_ - (context + 1) / 2;
      for (nn::KeyValueCache& layer : cache_) layer.clear();
      seen_ = 0;
    }
    const std::int64_t first = begin_ + (cached_ ? seen_ : 0);
    const Tensor features = model_.features(window(first), cached_ ? &cache_ : nullptr);
    seen_ = length_ - begin_;
    return model_.logits(features.select(1, -1)).to(f32).to_vector<float>();
  }

  void append(std::span<const std::int64_t> next) {
    for (std::size_t row = 0; row < next.size(); ++row) tokens_[row].push_back(next[row]);
    ++length_;
  }

  Array since(std::int64_t first) const { return copy(first); }

 private:
  Tensor window(std::int64_t first) const { return Tensor(copy(first)).to(model_.device()); }

  Array copy(std::int64_t first) const {
    std::vector<std::int64_t> values;
    for (const auto& row : tokens_) values.insert(values.end(), row.begin() + first, row.end());
    return Array::from(values, {rows_, length_ - first});
  }

  Gpt& model_;
  std::int64_t rows_, length_ = 0;
  std::int64_t begin_ = 0;  // of the window, in tokens
  std::int64_t seen_ = 0;   // tokens of the window that the cache holds
  bool cached_;
  GptCache cache_;
  std::vector<std::vector<std::int64_t>> tokens_;  // [rows][length]
};

class EvalMode {
 public:
  explicit EvalMode(nn::Module& module) : module_(module), was_(module.is_training()) { module.eval(); }
  ~EvalMode() { module_.train(was_); }
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  nn::Module& module_;
  bool was_;
};

}  // namespace

std::int64_t sample(std::span<const float> logits, const SamplingOptions& options, Generator& generator) {
  check(options);
  NORMA_CHECK(!logits.empty(), "sample: there are no logits");
  NORMA_CHECK(std::none_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); }),
              "sample: the logits hold a NaN");
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  if (options.temperature == 0) return order.front();
  if (options.top_k > 0 && options.top_k < static_cast<std::int64_t>(order.size())) {
    order.resize(static_cast<std::size_t>(options.top_k));
  }
  const double top = logits[static_cast<std::size_t>(order.front())];
  std::vector<double> cumulative;
  double sum = 0;
  for (const std::int64_t index : order) {
    const double difference = logits[static_cast<std::size_t>(index)] - top;  // -inf - -inf: all equal
    sum += std::isnan(difference) ? 1 : std::exp(difference / options.temperature);
    cumulative.push_back(sum);
  }
  const auto kept = std::lower_bound(cumulative.begin(), cumulative.end(), options.top_p * sum);
  const auto last = std::min<std::ptrdiff_t>(kept - cumulative.begin(), std::ssize(cumulative) - 1);
  const double target = generator.uniform() * cumulative[static_cast<std::size_t>(last)];
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.begin() + last, target);
  return order[static_cast<std::size_t>(chosen - cumulative.begin())];
}

Array generate(Gpt& model, const Array& prompts, std::int64_t count, const GenerateOptions& options,
               Generator& generator) {
  check(options.sampling);
  NORMA_CHECK(prompts.rank() == 2 && prompts.dtype() == i64 && prompts.shape()[1] > 0,
              "generate: prompts must be i64 [batch, length >= 1], got ", prompts.shape(), " of ",
              prompts.dtype());
  NORMA_CHECK(count >= 0, "generate: count must be >= 0, got ", count);
  const std::int64_t rows = prompts.shape()[0];
  if (rows == 0) return Array::empty({0, count}, i64);
  const NoGrad guard;
  const EvalMode eval(model);
  const auto vocabulary = static_cast<std::size_t>(model.options().vocabulary);
  Writer writer(model, prompts, options.cache);
  std::vector<std::int64_t> next(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::vector<float> logits = writer.next_logits();
    for (std::size_t row = 0; row < next.size(); ++row) {
      next[row] =
          sample(std::span(logits).subspan(row * vocabulary, vocabulary), options.sampling, generator);
    }
    writer.append(next);
    if (options.on_token && !options.on_token(next)) break;
  }
  return writer.since(prompts.shape()[1]);
}

}  // namespace norma::models
