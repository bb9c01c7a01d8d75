// Matrix products by Norma, by oneDNN and by OpenBLAS, in turn: the three products of a linear layer at the
// shapes of models. Prints a Markdown table of rates in GFLOP/s, and of the ratios to the others, a median of
// pairs each.
//
//     peer_products [PAIRS [PATTERN]]     PATTERN: only shapes whose "M K N" begins so
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
using Library = void (*)(const Product&);
constexpr Library libraries[] = {norma_product, onednn_product, openblas_product};
constexpr int library_count = 3;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// GFLOP/s: the median of the calls of a thirtieth of a second, at least three.
double rate(Library library, const Product& product) {
  std::vector<double> seconds;
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(33);
  while (seconds.size() < 3 || Clock::now() < end) {
    const Clock::time_point start = Clock::now();
    library(product);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return product.work() / median(seconds) / 1e9;
}

/// Ends the program where the libraries disagree.
void compare(const Product& product, const std::string& name) {
  const auto result = [&](Library library) {
    std::fill_n(product.c.data(), product.c.values.numel(), 0.0f);
    library(product);
    return std::vector<float>(product.c.data(), product.c.data() + product.c.values.numel());
  };
  const std::vector<float> ours = result(norma_product), theirs = result(onednn_product);
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i])));
    largest = std::max(largest, std::fabs(static_cast<double>(theirs[i])));
  }
  if (worst <= 1e-5 * largest) return;
  std::fprintf(stderr, "%s: the results differ by %g of %g\n", name.c_str(), worst, largest);
  std::exit(1);
}

struct Shares {
  std::vector<double> of_onednn, of_openblas;
};

/// "ours / oneDNN / OpenBLAS | ratio | ratio |"
void print_cells(const Product& product, int pairs, Shares& all) {
  std::vector<double> rates[library_count], of_onednn, of_openblas;
  for (const Library library : libraries) rate(library, product);
  for (int i = 0; i < pairs; ++i) {
    for (int j = 0; j < library_count; ++j) rates[j].push_back(rate(libraries[j], product));
    of_onednn.push_back(rates[0].back() / rates[1].back());
    of_openblas.push_back(rates[0].back() / rates[2].back());
  }
  const auto [low, high] = std::minmax_element(of_onednn.begin(), of_onednn.end());
  std::printf(" %.0f / %.0f / %.0f | **%.2f** (%.2f-%.2f) | %.2f |", median(rates[0]), median(rates[1]),
              median(rates[2]), median(of_onednn), *low, *high, median(of_openblas));
  std::fflush(stdout);
  all.of_onednn.push_back(median(of_onednn));
  all.of_openblas.push_back(median(of_openblas));
}

void measure(std::int64_t m, std::int64_t k, std::int64_t n, int pairs, Shares& all,
             const std::string& name) {
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
    compare(product, name);
    print_cells(product, pairs, all);
  }
  std::printf("\n");
}

struct Extents {
  std::int64_t m, k, n;
};
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
  const int pairs = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  const std::string_view pattern = argc > 2 ? argv[2] : "";
  const dnnl_version_t& version = *dnnl_version();
  std::printf("%d threads, %d rounds in turn; oneDNN %d.%d.%d, OpenBLAS: %s.\n\n", num_threads(), pairs,
              version.major, version.minor, version.patch, openblas_get_config());
  std::printf(
      "| M K N | y = x W^T, GFLOP/s: Norma / oneDNN / OpenBLAS | : oneDNN | : OpenBLAS | dx = dy W | : "
      "oneDNN | : OpenBLAS "
      "| dW += dy^T x | : oneDNN | : OpenBLAS |\n|%s\n",
      " --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  Shares all;
  for (const auto& [m, k, n] : shapes) {
    const std::string name = std::to_string(m) + " " + std::to_string(k) + " " + std::to_string(n);
    if (name.starts_with(pattern)) measure(m, k, n, pairs, all, name);
  }
  if (all.of_onednn.empty()) return 0;
  const auto lowest = [](const std::vector<double>& x) { return *std::min_element(x.begin(), x.end()); };
  std::printf("\nMedian and lowest ratio: to oneDNN %.2f and %.2f, to OpenBLAS %.2f and %.2f.\n",
              median(all.of_onednn), lowest(all.of_onednn), median(all.of_openblas), lowest(all.of_openblas));
}
