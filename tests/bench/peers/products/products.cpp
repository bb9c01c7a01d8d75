// Matrix products by Norma, by oneDNN and by OpenBLAS, in turn: the three products of a linear layer at the
// shapes of models. Prints a Markdown table of rates in GFLOP/s, and of the ratios to the others, a median of
// pairs each.
//
//     products [--precisions] [PAIRS [PATTERN]]     PATTERN: only shapes whose "M K N" begins so
//
// With --precisions: Norma in the precisions of set_matmul_precision, against OpenBLAS in f32.
#include <cblas.h>
#include <dnnl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/ops.h"
#include "core/backend.h"
#include "core/parallel.h"
#include "core/precision.h"

namespace {

using namespace norma;
using Clock = std::chrono::steady_clock;

struct Matrix {
  Array values;  // [rows, columns]
  bool transposed = false;
  float* data() const { return static_cast<float*>(values.view().data); }
  int rows() const { return static_cast<int>(values.shape()[transposed ? 1 : 0]); }
  int columns() const { return static_cast<int>(values.shape()[transposed ? 0 : 1]); }
  int leading() const { return static_cast<int>(values.shape()[1]); }
  View view() const { return transposed ? values.transpose(0, 1).view() : values.view(); }
};

/// c = a b, or c += a b.
struct Product {
  Matrix c, a, b;
  bool add;
  double work() const { return 2.0 * c.rows() * c.columns() * a.columns(); }
};

void norma_product(const Product& p) {
  backend(Device()).matmul(p.c.view(), p.a.view(), p.b.view(), 1, p.add ? 1 : 0);
}
void onednn_product(const Product& p) {
  const auto letter = [](const Matrix& matrix) { return matrix.transposed ? 'T' : 'N'; };
  dnnl_sgemm(letter(p.a), letter(p.b), p.c.rows(), p.c.columns(), p.a.columns(), 1, p.a.data(), p.a.leading(),
             p.b.data(), p.b.leading(), p.add ? 1.0f : 0.0f, p.c.data(), p.c.leading());
}
void openblas_product(const Product& p) {
  const auto flag = [](const Matrix& matrix) { return matrix.transposed ? CblasTrans : CblasNoTrans; };
  cblas_sgemm(CblasRowMajor, flag(p.a), flag(p.b), p.c.rows(), p.c.columns(), p.a.columns(), 1, p.a.data(),
              p.a.leading(), p.b.data(), p.b.leading(), p.add ? 1.0f : 0.0f, p.c.data(), p.c.leading());
}
template <MatmulPrecision precision>
void norma_product_in(const Product& p) {
  set_matmul_precision(precision);
  norma_product(p);
  set_matmul_precision(MatmulPrecision::highest);
}

struct Library {
  void (*product)(const Product&);
  double error;  // of a result, as a part of the largest value
};
struct Ratio {
  std::size_t ours, theirs;
  bool range;  // is printed
};
/// What one table compares.
struct Contest {
  std::vector<Library> libraries;
  std::vector<Ratio> ratios;
  const char *names, *ratio_names;
};
const Contest libraries{{{norma_product, 1e-5}, {onednn_product, 1e-5}, {openblas_product, 1e-5}},
                        {{0, 1, true}, {0, 2, false}},
                        "Norma / oneDNN / OpenBLAS",
                        ": oneDNN | : OpenBLAS"};
const Contest precisions{{{norma_product_in<MatmulPrecision::medium>, 2e-2},
                          {norma_product_in<MatmulPrecision::high>, 5e-5},
                          {norma_product_in<MatmulPrecision::highest_bf16x6>, 1e-5},
                          {norma_product, 1e-5},
                          {openblas_product, 1e-5}},
                         {{0, 4, false}, {1, 4, false}, {2, 4, false}},
                         "medium / high / six products / f32 / OpenBLAS",
                         "medium | high | six"};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// GFLOP/s: the median of the calls of a thirtieth of a second, at least three.
double rate(const Library& library, const Product& product) {
  std::vector<double> seconds;
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(33);
  while (seconds.size() < 3 || Clock::now() < end) {
    const Clock::time_point start = Clock::now();
    library.product(product);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return product.work() / median(seconds) / 1e9;
}

/// Ends the program where the libraries disagree.
void compare(const Contest& contest, const Product& product, const std::string& name) {
  const auto result = [&](const Library& library) {
    std::fill_n(product.c.data(), product.c.values.numel(), 0.0f);
    library.product(product);
    return std::vector<float>(product.c.data(), product.c.data() + product.c.values.numel());
  };
  const std::vector<float> right = result(contest.libraries.back());
  for (const Library& library : contest.libraries) {
    const std::vector<float> ours = result(library);
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      worst = std::max(worst, std::fabs(static_cast<double>(ours[i]) - static_cast<double>(right[i])));
      largest = std::max(largest, std::fabs(static_cast<double>(right[i])));
    }
    if (worst <= library.error * largest) continue;
    std::fprintf(stderr, "%s: the results differ by %g of %g\n", name.c_str(), worst, largest);
    std::exit(1);
  }
}

/// Medians of all products, by the contest's ratio.
using Shares = std::vector<std::vector<double>>;

/// "rate / rate / .. | ratio | ratio |"
void print_cells(const Contest& contest, const Product& product, int pairs, Shares& all) {
  std::vector<std::vector<double>> rates(contest.libraries.size());
  for (const Library& library : contest.libraries) rate(library, product);
  for (int i = 0; i < pairs; ++i) {
    for (std::size_t j = 0; j < rates.size(); ++j) rates[j].push_back(rate(contest.libraries[j], product));
  }
  for (std::size_t j = 0; j < rates.size(); ++j)
    std::printf("%s%.0f", j == 0 ? " " : " / ", median(rates[j]));
  for (std::size_t i = 0; i < contest.ratios.size(); ++i) {
    const auto& [ours, theirs, range] = contest.ratios[i];
    std::vector<double> ratios;
    for (std::size_t pair = 0; pair < rates[ours].size(); ++pair)
      ratios.push_back(rates[ours][pair] / rates[theirs][pair]);
    all[i].push_back(median(ratios));
    const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
    std::printf(" | **%.2f**", all[i].back());
    if (range) std::printf(" (%.2f-%.2f)", *low, *high);
  }
  std::printf(" |");
  std::fflush(stdout);
}

struct Extents {
  std::int64_t m, k, n;
};

void measure(const Contest& contest, const Extents& e, int pairs, Shares& all, const std::string& name) {
  const auto& [m, k, n] = e;
  const auto random = [](std::int64_t rows, std::int64_t columns) {
    return randn({rows, columns}).array().clone();
  };
  const Array x = random(m, k), weight = random(n, k), dy = random(m, n);
  const Array y = Array::empty({m, n}, f32, Device()), dx = Array::empty({m, k}, f32, Device());
  const Array dweight = random(n, k);
  const Product products[] = {
      {{y}, {x}, {weight, true}, false}, {{dx}, {dy}, {weight}, false}, {{dweight}, {dy, true}, {x}, true}};
  std::printf("| %s |", name.c_str());
  for (const Product& product : products) {
    compare(contest, product, name);
    print_cells(contest, product, pairs, all);
  }
  std::printf("\n");
}

// The layers of `char` and its head, of `small`, an MLP, GPT-2 at 256, 512 and 2048 tokens and its head.
constexpr Extents shapes[] = {
    {2048, 192, 576},  {2048, 192, 192},  {2048, 192, 768},  {2048, 768, 192},  {2048, 192, 128},
    {2048, 384, 1152}, {2048, 384, 384},  {2048, 384, 1536}, {2048, 1536, 384}, {64, 784, 128},
    {256, 768, 2304},  {256, 768, 768},   {256, 768, 3072},  {256, 3072, 768},  {512, 768, 2304},
    {512, 768, 768},   {512, 768, 3072},  {512, 3072, 768},  {2048, 768, 2304}, {2048, 768, 768},
    {2048, 768, 3072}, {2048, 3072, 768}, {512, 768, 50257},
};

}  // namespace

int main(int argc, char** argv) {
  const bool by_precision = argc > 1 && std::string_view(argv[1]) == "--precisions";
  if (by_precision) --argc, ++argv;
  const int pairs = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  const std::string_view pattern = argc > 2 ? argv[2] : "";
  const Contest& contest = by_precision ? precisions : libraries;
  const dnnl_version_t& version = *dnnl_version();
  std::printf("%d threads, %d rounds in turn; oneDNN %d.%d.%d, OpenBLAS: %s.\n\n", num_threads(), pairs,
              version.major, version.minor, version.patch, openblas_get_config());
  std::printf("| M K N | y = x W^T, GFLOP/s: %s | %s | dx = dy W | %s | dW += dy^T x | %s |\n| --- |",
              contest.names, contest.ratio_names, contest.ratio_names, contest.ratio_names);
  for (std::size_t i = 0; i < 3 * (1 + contest.ratios.size()); ++i) std::printf(" --- |");
  std::printf("\n");
  Shares all(contest.ratios.size());
  for (const Extents& e : shapes) {
    const std::string name = std::to_string(e.m) + " " + std::to_string(e.k) + " " + std::to_string(e.n);
    if (name.starts_with(pattern)) measure(contest, e, pairs, all, name);
  }
  if (all[0].empty()) return 0;
  std::printf("\nMedian and lowest ratio (%s):", contest.ratio_names);
  for (const std::vector<double>& ratios : all)
    std::printf(" %.2f and %.2f;", median(ratios), *std::min_element(ratios.begin(), ratios.end()));
  std::printf("\n");
}
