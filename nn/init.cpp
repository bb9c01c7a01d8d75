#include "nn/init.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"

namespace norma::nn::init {
namespace {

const Tensor& fill(const Tensor& x, Random distribution, double a, double b, Generator* generator) {
  x.array().copy_from(Array::random(distribution, x.shape(), a, b, x.dtype(), x.device(),
                                    generator != nullptr ? *generator : default_generator()));
  return x;
}

void check_floating(const char* name, const Tensor& x) {
  NORMA_CHECK(x.defined(), name, ": got an undefined tensor");
  NORMA_CHECK(is_floating(x.dtype()), name, ": needs a floating dtype, got ", x.dtype());
}

struct Fans {
  double in, out;
};

Fans fans_of(const char* name, const Tensor& weight) {
  check_floating(name, weight);
  NORMA_CHECK(weight.dim() >= 2, name, ": needs a weight of rank >= 2, got shape ", weight.shape());
  const double receptive = static_cast<double>(weight.numel()) /
                           std::max(1.0, static_cast<double>(weight.size(0) * weight.size(1)));
  return {static_cast<double>(weight.size(1)) * receptive, static_cast<double>(weight.size(0)) * receptive};
}

double kaiming_std(const char* name, const Tensor& weight, const KaimingOptions& options) {
  const Fans fans = fans_of(name, weight);
  const double fan = options.mode == Fan::in ? fans.in : fans.out;
  return fan > 0 ? calculate_gain(options.nonlinearity, options.a) / std::sqrt(fan) : 0;
}

double xavier_std(const char* name, const Tensor& weight, double gain) {
  const Fans fans = fans_of(name, weight);
  return fans.in + fans.out > 0 ? gain * std::sqrt(2 / (fans.in + fans.out)) : 0;
}

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Modified Gram-Schmidt on the rows of [rows, n], rows <= n, twice, so that the rows are orthogonal to
// rounding. The implied triangular factor has a positive diagonal, so Gaussian rows give the uniform
// distribution on orthogonal matrices.
void orthonormalize_rows(std::vector<double>& matrix, std::int64_t rows, std::int64_t n) {
  for (std::int64_t i = 0; i < rows; ++i) {
    double* const row = matrix.data() + i * n;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t j = 0; j < i; ++j) {
        const double* const other = matrix.data() + j * n;
        const double projection = dot(row, other, n);
        for (std::int64_t k = 0; k < n; ++k) row[k] -= projection * other[k];
      }
      const double length = std::sqrt(dot(row, row, n));
      for (std::int64_t k = 0; k < n; ++k) row[k] /= length;
    }
  }
}

}  // namespace

double calculate_gain(std::string_view nonlinearity, double slope) {
  if (nonlinearity == "linear" || nonlinearity == "conv" || nonlinearity == "sigmoid") return 1;
  if (nonlinearity == "tanh") return 5.0 / 3;
  if (nonlinearity == "relu") return std::sqrt(2.0);
  if (nonlinearity == "leaky_relu") return std::sqrt(2 / (1 + slope * slope));
  if (nonlinearity == "selu") return 0.75;
  throw Error(norma::detail::concat("calculate_gain: unknown nonlinearity \"", nonlinearity,
                                    "\"; known are linear, conv, sigmoid, tanh, relu, leaky_relu, selu"));
}

const Tensor& zeros_(const Tensor& x) { return constant_(x, 0); }
const Tensor& ones_(const Tensor& x) { return constant_(x, 1); }

const Tensor& constant_(const Tensor& x, double value) {
  x.array().fill(value);
  return x;
}

const Tensor& uniform_(const Tensor& x, double low, double high, Generator* generator) {
  check_floating("uniform_", x);
  NORMA_CHECK(low <= high, "uniform_: needs low <= high, got ", low, " and ", high);
  return fill(x, Random::uniform, low, high, generator);
}

const Tensor& normal_(const Tensor& x, double mean, double std, Generator* generator) {
  check_floating("normal_", x);
  NORMA_CHECK(std >= 0, "normal_: std must be >= 0, got ", std);
  return fill(x, Random::normal, mean, std, generator);
}

const Tensor& trunc_normal_(const Tensor& x, double mean, double std, double low, double high,
                            Generator* generator) {
  check_floating("trunc_normal_", x);
  NORMA_CHECK(std > 0, "trunc_normal_: std must be > 0, got ", std);
  NORMA_CHECK(low < high, "trunc_normal_: needs low < high, got ", low, " and ", high);
  fill(x, Random::truncated_normal, (low - mean) / std, (high - mean) / std, generator);
  x.array().copy_from((x.detach() * std + mean).array());
  return x;
}

const Tensor& xavier_uniform_(const Tensor& weight, double gain, Generator* generator) {
  const double bound = std::sqrt(3.0) * xavier_std("xavier_uniform_", weight, gain);
  return fill(weight, Random::uniform, -bound, bound, generator);
}

const Tensor& xavier_normal_(const Tensor& weight, double gain, Generator* generator) {
  return fill(weight, Random::normal, 0, xavier_std("xavier_normal_", weight, gain), generator);
}

const Tensor& kaiming_uniform_(const Tensor& weight, KaimingOptions options) {
  const double bound = std::sqrt(3.0) * kaiming_std("kaiming_uniform_", weight, options);
  return fill(weight, Random::uniform, -bound, bound, options.generator);
}

const Tensor& kaiming_normal_(const Tensor& weight, KaimingOptions options) {
  return fill(weight, Random::normal, 0, kaiming_std("kaiming_normal_", weight, options), options.generator);
}

const Tensor& orthogonal_(const Tensor& weight, double gain, Generator* generator) {
  const Fans fans = fans_of("orthogonal_", weight);
  const std::int64_t rows = weight.size(0);
  const auto columns = static_cast<std::int64_t>(fans.in);
  if (weight.numel() == 0) return weight;
  const std::int64_t count = std::min(rows, columns), n = std::max(rows, columns);
  Array random = Array::random(Random::normal, {count, n}, 0, 1, f64, cpu,
                               generator != nullptr ? *generator : default_generator());
  std::vector<double> matrix = random.to_vector<double>();
  orthonormalize_rows(matrix, count, n);
  for (double& element : matrix) element *= gain;
  Array result = Array::from(matrix, {count, n});
  if (rows > columns) result = result.transpose(0, 1);
  weight.array().copy_from(result.reshape(weight.shape()).to(weight.device()));
  return weight;
}

}  // namespace norma::nn::init
