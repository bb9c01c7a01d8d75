#include "nn/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace norma::nn::probe {
namespace {

constexpr double saturation = 0.97;

std::vector<double> values_of(const Tensor& x) { return x.detach().to(cpu).to(f64).to_vector<double>(); }

double norm_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

// Values of [outer, units, inner]: the share of units without a value other than 0.
double dead_share(const std::vector<double>& values, std::int64_t units, std::int64_t inner) {
  std::vector<char> alive(static_cast<std::size_t>(units), 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] != 0) alive[i / static_cast<std::size_t>(inner) % alive.size()] = 1;
  }
  return static_cast<double>(std::count(alive.begin(), alive.end(), 0)) / static_cast<double>(units);
}

double saturated_share(const std::vector<double>& values, const Range& range) {
  const double middle = (range.low + range.high) / 2, limit = saturation * (range.high - range.low) / 2;
  const auto beyond = std::count_if(values.begin(), values.end(),
                                    [&](double value) { return std::abs(value - middle) > limit; });
  return static_cast<double>(beyond) / static_cast<double>(values.size());
}

Record measure(const Tensor& x, const NoteOptions& options) {
  const int axis = x.dim() == 0 ? 0 : normalize_axis(options.unit_axis, x.dim(), "probe::note");
  Record record{.layer = "", .gradient_norm = std::numeric_limits<double>::quiet_NaN()};
  const std::vector<double> values = values_of(x);
  if (values.empty()) return record;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) record.mean += value / n;
  for (const double value : values) {
    record.std += (value - record.mean) * (value - record.mean) / n;
    if (std::isnan(value) || std::abs(value) > record.max) record.max = std::abs(value);  // NaN stays
  }
  record.std = std::sqrt(record.std);
  std::int64_t inner = 1;
  for (int i = axis + 1; i < x.dim(); ++i) inner *= x.size(i);
  record.dead = dead_share(values, x.dim() == 0 ? 1 : x.size(axis), inner);
  if (options.range) record.saturated = saturated_share(values, *options.range);
  return record;
}

}  // namespace

std::optional<Range> range_of(std::string_view activation) {
  if (activation == "sigmoid") return Range{0, 1};
  if (activation == "tanh") return Range{-1, 1};
  return std::nullopt;
}

Recorder::Recorder() : outer_(current_recorder) { current_recorder = this; }
Recorder::~Recorder() { current_recorder = outer_; }

std::string Recorder::unique_name(std::string_view name) const {
  const std::string whole = prefix_ + std::string(name);
  const auto taken = [&](const std::string& candidate) {
    return std::any_of(records_->begin(), records_->end(),
                       [&](const Record& record) { return record.layer == candidate; });
  };
  std::string candidate = whole;
  for (int repeated = 2; taken(candidate); ++repeated) candidate = whole + "#" + std::to_string(repeated);
  return candidate;
}

Tensor record(std::string_view name, const Tensor& x, const NoteOptions& options) {
  Recorder& recorder = *current_recorder;
  const std::string layer = recorder.unique_name(name);
  NORMA_CHECK(x.defined(), "probe::note: ", layer, " is an undefined tensor");
  NORMA_CHECK(is_floating(x.dtype()), "probe::note: ", layer, " needs a floating dtype, got ", x.dtype());
  Record measured = measure(x, options);
  measured.layer = layer;
  const std::size_t place = recorder.records_->size();
  recorder.records_->push_back(std::move(measured));
  if (!x.requires_grad() || !grad_enabled()) return x;
  // A hook on a leaf would stay there for good, so the hook goes to an alias of it.
  const Tensor noted =
      x.is_leaf() ? x.reshape(std::vector<std::int64_t>(x.shape().begin(), x.shape().end())) : x;
  noted.register_hook([records = recorder.records_, place](const Tensor& gradient) {
    (*records)[place].gradient_norm = norm_of(values_of(gradient));
    return Tensor();
  });
  return noted;
}

void Scope::enter(std::string_view name, std::optional<std::size_t> index) {
  length_ = recorder_->prefix_.size();
  recorder_->prefix_ += name;
  if (index) recorder_->prefix_ += "." + std::to_string(*index);
  recorder_->prefix_ += ".";
}

}  // namespace norma::nn::probe
