// The CUDA backend's own: mistakes in the data that only a kernel sees, embeddings, dropout, optimizers,
// TF32.
#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "core/precision.h"
#include "tests/backends/arrays.h"
#include "tests/cuda/device.h"
#include "tests/messages.h"

namespace norma::tests {
namespace {

const char* const late = "(reported at the next synchronization)";

Array indices(const std::vector<std::int64_t>& values) {
  return Array::from(values, {static_cast<std::int64_t>(values.size())}, cuda);
}

TEST_SUITE("cuda backend" * doctest::skip(no_device())) {
  TEST_CASE("cuda: an index out of range is reported at the next synchronization, the first of several") {
    Backend& b = backend(cuda);
    const Array x = Array::ones({5, 2}, f32, cuda), y = Array::full({4, 2}, 7, f32, cuda);
    b.embedding(y.view(), x.view(), indices({0, 9, 1, -3}).view());
    b.embedding(y.view(), x.view(), indices({8, 0, 0, 0}).view());
    try {
      b.synchronize();
      FAIL("nothing was thrown");
    } catch (const Error& error) {
      CHECK(std::string(error.what()) ==
            "embedding: index 9 at position 1 is outside [0, 5) (reported at the next synchronization)");
    }
    b.synchronize();  // reported once
    b.embedding(y.view(), x.view(), indices({0, 4, -1, 0}).view());
    CHECK_THROWS_MESSAGE_HAS(y.to(cpu), "embedding: index -1 at position 2 is outside [0, 5)");
    CHECK(y.at({1, 1}) == 1);
    CHECK(y.at({2, 1}) == 0);
  }
  TEST_CASE("cuda: gather, scatter_add and the backward of embedding leave out what is out of range") {
    Backend& b = backend(cuda);
    const Array x = Array::ones({3, 4}, f64, cuda), index = Array::zeros({3, 4}, i64, cuda);
    index.slice(0, {1, 2}).slice(1, {2, 3}).fill(4);
    const Array y = Array::zeros({3, 4}, f64, cuda);
    b.gather(y.view(), x.view(), index.view(), 1, "take");
    CHECK_THROWS_MESSAGE_HAS(b.synchronize(), "take: index 4 at position 6 is outside [0, 4)");
    b.scatter_add(y.view(), x.view(), index.view(), 0, "put");
    CHECK_THROWS_MESSAGE_HAS(b.synchronize(), "put: index 4 at position 6 is outside [0, 3)");
    b.embedding_backward(y.view(), x.view(), indices({0, 3, -1}).view());
    CHECK_THROWS_MESSAGE_HAS(b.synchronize(), "embedding: index 3 at position 1 is outside [0, 3)");
    CHECK_THROWS_MESSAGE_HAS(embedding(Tensor(indices({7})), Tensor(x)).sum().item(), late);
  }
  TEST_CASE("cuda: the backward of embedding adds equal indices in order") {
    for (const DType dtype : {f32, f64}) {
      for (const std::int64_t d : {1, 5, 130}) {
        const std::int64_t rows = 300, entries = 7;
        std::vector<std::int64_t> index;
        for (std::int64_t r = 0; r < rows; ++r) index.push_back(r * r % 11 % (entries - 1));
        const Array at = Array::from(index, {rows}), dy = normal({rows, d}, dtype, 3);
        const auto run = [&](Device device) {
          const Array dtable = Array::zeros({entries, d}, dtype, device);
          backend(device).embedding_backward(dtable.view(), dy.to(device).view(), at.to(device).view());
          return dtable.to(cpu);
        };
        CHECK(same_bits(run(cuda), run(cpu)));
      }
    }
  }
  TEST_CASE("cuda: dropout has the CPU's mask, bit by bit") {
    for (const DType dtype : {f32, f64}) {
      const Array x = normal({1001}, dtype, 4), dy = normal({1001}, dtype, 5);
      const RandomKey key{7, 12345};
      for (const double p : {0.0, 0.3, 1.0}) {
        const auto run = [&](Device device) {
          const Array y = Array::empty({1001}, dtype, device), dx = Array::empty({1001}, dtype, device),
                      kept = Array::zeros({16}, i64, device);
          REQUIRE(backend(device).dropout(y.view(), kept.view(), x.to(device).view(), key, p));
          REQUIRE(backend(device).dropout_backward(dx.view(), dy.to(device).view(), kept.view(), p));
          return std::vector{y.to(cpu), dx.to(cpu), kept.to(cpu)};
        };
        const std::vector<Array> got = run(cuda), want = run(cpu);
        for (std::size_t i = 0; i < want.size(); ++i) CHECK(same_bits(got[i], want[i]));
      }
    }
  }
  TEST_CASE("cuda: Adam and the sum of squares of many tensors") {
    std::vector<Array> arrays;
    std::vector<View> views;
    double want = 0;
    for (std::int64_t i = 0; i < 130; ++i) {  // more than one launch takes, both dtypes, empty ones
      const Array x = normal({i == 77 ? 40000 : i % 9}, i % 50 == 49 ? f64 : f32, 5);
      for (const double value : values(x)) want += value * value;
      arrays.push_back(x.to(cuda));
      views.push_back(arrays.back().view());
    }
    const Array sum = Array::empty({}, f64, cuda);
    REQUIRE(backend(cuda).sum_of_squares(sum.view(), views));
    CHECK(close(sum.item(), want, 1e-12));
    REQUIRE(backend(cuda).sum_of_squares(sum.view(), {}));
    CHECK(sum.item() == 0);
    for (const DType dtype : {f32, f64}) {
      for (const bool decoupled : {false, true}) {
        const AdamOptions options{.lr = 0.1,
                                  .beta1 = 0.9,
                                  .beta2 = 0.99,
                                  .eps = 1e-8,
                                  .weight_decay = 0.1,
                                  .correction1 = 0.19,
                                  .correction2 = 0.0199,
                                  .decoupled = decoupled};
        const auto run = [&](Device device) {
          std::vector<Array> arrays;
          std::vector<AdamTensors> all;
          for (std::int64_t i = 0; i < 70; ++i) {  // more than one launch takes
            const Shape shape{i == 9 ? 9000 : i % 7};
            View views[4];
            for (std::uint64_t k = 0; k < 4; ++k) {
              arrays.push_back(k == 3 ? Array::full(shape, 0.5, dtype, device)
                                      : normal(shape, dtype, 6 + k).to(device));
              views[k] = arrays.back().view();
            }
            all.push_back({views[0], views[1], views[2], views[3]});
          }
          REQUIRE(backend(device).adam(all, options));
          for (Array& x : arrays) x = x.to(cpu);
          return arrays;
        };
        const auto got = run(cuda), expected = run(cpu);
        for (std::size_t i = 0; i < got.size(); ++i) check_close(got[i], expected[i], tolerance_of(dtype));
      }
    }
  }
  TEST_CASE("cuda: products with beta = 0 never read c; none with k = 0; integers have none") {
    Backend& b = backend(cuda);
    const Array c = Array::full({5, 4}, std::nan(""), f32, cuda);
    const Array left = normal({5, 3}, f32, 1).to(cuda), right = normal({3, 4}, f32, 2).to(cuda);
    b.matmul(c.view(), left.view(), right.view(), 1, 0);
    CHECK(all_finite(c));
    const Array a = Array::empty({5, 0}, f32, cuda), none = Array::empty({0, 4}, f32, cuda);
    c.fill(5);
    b.matmul(c.view(), a.view(), none.view(), 1, 2);
    CHECK(c.at({4, 3}) == 10);
    b.matmul(c.view(), a.view(), none.view(), 1, 0);
    CHECK(c.at({4, 3}) == 0);
    const Array whole = Array::ones({2, 2}, i64, cuda);
    CHECK_THROWS_MESSAGE_HAS(b.matmul(whole.view(), whole.view(), whole.view(), 1, 0),
                             "matmul: needs a floating dtype, got i64");
  }
  TEST_CASE("cuda: linear in f32 is one product with the bias in it, for any strides") {
    Backend& b = backend(cuda);
    const std::int64_t sizes[][3] = {{1, 1, 1}, {5, 3, 7}, {3, 1, 4}, {64, 33, 20}, {300, 16, 2}};
    for (const auto& [rows, in, out] : sizes) {
      for (const bool x_transposed : {false, true}) {
        for (const bool weight_transposed : {false, true}) {
          const auto make = [](std::int64_t n, std::int64_t m, bool transposed, std::uint64_t seed) {
            return transposed ? normal({m, n}, f32, seed).to(cuda).transpose(0, 1)
                              : normal({n, m}, f32, seed).to(cuda);
          };
          const Array x = make(rows, in, x_transposed, 1), weight = make(out, in, weight_transposed, 2);
          const Array bias = normal({out}, f32, 3), y = Array::full({rows, out}, std::nan(""), f32, cuda);
          REQUIRE(b.linear(y.view(), x.view(), weight.view(), bias.to(cuda).view()));
          const Array got = y.to(cpu), x_host = x.to(cpu), weight_host = weight.to(cpu);
          double worst = 0;
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t o = 0; o < out; ++o) {
              double want = bias.at({o});
              for (std::int64_t k = 0; k < in; ++k) want += x_host.at({r, k}) * weight_host.at({o, k});
              worst = std::max(worst, std::fabs(got.at({r, o}) - want) / (1 + std::fabs(want)));
            }
          }
          CHECK(worst < 1e-5);
        }
      }
    }
    const Array wide = Array::ones({2, 2}, f64, cuda), none = Array::empty({2, 0}, f32, cuda);
    CHECK_FALSE(b.linear(wide.view(), wide.view(), wide.view(), Array::ones({2}, f64, cuda).view()));
    const Array y = Array::full({2, 2}, 3, f32, cuda), bias = Array::ones({2}, f32, cuda);
    CHECK_FALSE(b.linear(y.view(), none.view(), none.view(), bias.view()));  // left to the caller
    CHECK(y.at({1, 1}) == 3);
#if NORMA_CUDA_EMULATED
    CHECK_THROWS_MESSAGE_HAS(b.linear(y.view(), y.view(), y.view(), Array::ones({2}).view()),
                             "cublasLtMatmul: bias:");
#endif
  }
  TEST_CASE("cuda: TF32 is off until it is allowed") {
    REQUIRE_FALSE(cuda_tf32());
    set_cuda_tf32(true);
    CHECK(cuda_tf32());
    set_cuda_tf32(false);
  }
  TEST_CASE("cuda: memory goes back to the cache, and the cap holds") {
    const MemoryStats before = memory_stats(cuda);
    { const Array x = Array::ones({1000}, f32, cuda); }
    const MemoryStats after = memory_stats(cuda);
    CHECK(after.live_bytes == before.live_bytes);
    CHECK_THROWS_AS(Array::empty({std::int64_t{1} << 45}, f64, cuda), OutOfMemory);
  }
}

}  // namespace
}  // namespace norma::tests
