// batch_statistics, batch_norm and group_norm kernels against plain double loops, for every way of walking
// [n, channels, inner], and the numbers of the robustness checklist.
#include <array>

#include "tests/backends/arrays.h"

namespace norma::tests {
namespace {

using Values = std::vector<double>;
Backend& kernels() { return backend(cpu); }

// Short inner (columns), folded rows, several bands and tiles; long inner (planes), cut planes, short planes.
const Shape all_shapes[] = {{1, 1, 2},  {7, 3, 1},  {501, 5, 1}, {67, 700, 1},  {3, 2, 5},    {40, 150, 7},
                            {2, 6, 31}, {3, 4, 32}, {2, 6, 257}, {1, 2, 40000}, {5, 260, 49}, {2, 1030, 33}};

Array random_mask(const Shape& shape) {
  Generator generator(3);
  return Array::random(Random::bernoulli, shape, 0.7, 0, boolean, cpu, generator);
}

/// Which set a value of x [n, channels, inner] belongs to, and how many there are.
struct Sets {
  std::size_t n, channels, inner, count, groups;  // groups 0: one set for each channel

  Sets(const Shape& shape, std::int64_t groups_ = 0)
      : n(static_cast<std::size_t>(shape[0])),
        channels(static_cast<std::size_t>(shape[1])),
        inner(static_cast<std::size_t>(shape[2])),
        count(groups_ == 0 ? channels : n * static_cast<std::size_t>(groups_)),
        groups(static_cast<std::size_t>(groups_)) {}
  std::size_t channel(std::size_t at) const { return at / inner % channels; }
  std::size_t set(std::size_t at) const {
    if (groups == 0) return channel(at);
    return at / inner / channels * groups + channel(at) / (channels / groups);
  }
  bool counts(const Array& mask, std::size_t at) const {
    return !mask.defined() || mask.data<bool>()[at / inner / channels * inner + at % inner];
  }
};

struct PlainStatistics {
  Values mean, var, number;

  PlainStatistics(const Values& x, const Sets& sets, const Array& mask) {
    mean.resize(sets.count), var.resize(sets.count), number.resize(sets.count);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (sets.counts(mask, i)) mean[sets.set(i)] += x[i], ++number[sets.set(i)];
    }
    for (std::size_t s = 0; s < sets.count; ++s) mean[s] /= std::max(1.0, number[s]);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t s = sets.set(i);
      if (sets.counts(mask, i)) var[s] += (x[i] - mean[s]) * (x[i] - mean[s]) / number[s];
    }
  }
  Values rstd(double eps) const {
    Values result;
    for (const double v : var) result.push_back(1 / std::sqrt(v + eps));
    return result;
  }
};

struct PlainNorm {
  Values y, dx, dweight, dbias;

  PlainNorm(const Values& x, const Sets& sets, const Array& mask, const Values& mean, const Values& rstd,
            const Values& number, const Values& weight, const Values& bias, const Values& dy, bool constant) {
    y.resize(x.size()), dx.resize(x.size()), dweight.resize(sets.channels), dbias.resize(sets.channels);
    Values sum_g(sets.count), sum_gx(sets.count);
    const auto gain = [&](std::size_t i) { return weight.empty() ? 1 : weight[sets.channel(i)]; };
    const auto x_hat = [&](std::size_t i) { return (x[i] - mean[sets.set(i)]) * rstd[sets.set(i)]; };
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!sets.counts(mask, i)) continue;
      const std::size_t c = sets.channel(i), s = sets.set(i);
      y[i] = x_hat(i) * gain(i) + (bias.empty() ? 0 : bias[c]);
      dweight[c] += dy[i] * x_hat(i), dbias[c] += dy[i];
      sum_g[s] += dy[i] * gain(i) / number[s], sum_gx[s] += dy[i] * gain(i) * x_hat(i) / number[s];
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t s = sets.set(i);
      if (!sets.counts(mask, i)) continue;
      dx[i] = rstd[s] * (dy[i] * gain(i) - (constant ? 0 : sum_g[s] + x_hat(i) * sum_gx[s]));
    }
  }
};

Array like(const Array& x) { return Array::empty(x.shape(), x.dtype()); }
Array vector_for(const Array& x, DType dtype) { return Array::empty({x.shape()[1]}, dtype); }

struct BatchRun {
  Array mean, var, y, dx, dweight, dbias;

  BatchRun(const Array& x, const Array& mask, const Array& weight, const Array& bias, double eps,
           const Array& dy, bool constant = false)
      : mean(vector_for(x, f64)),
        var(vector_for(x, f64)),
        y(like(x)),
        dx(like(x)),
        dweight(vector_for(x, x.dtype())),
        dbias(vector_for(x, x.dtype())) {
    REQUIRE(kernels().batch_statistics(mean.view(), var.view(), x.view(), mask.view_or_none()));
    const Array rstd = rstd_of(var, eps);
    REQUIRE(kernels().batch_norm(y.view(), x.view(), mask.view_or_none(), mean.view(), rstd.view(),
                                 weight.view_or_none(), bias.view_or_none()));
    REQUIRE(kernels().batch_norm_backward(dx.view(), dweight.view(), dbias.view(), dy.view(), x.view(),
                                          mask.view_or_none(), mean.view(), rstd.view(),
                                          weight.view_or_none(), constant));
  }
  static Array rstd_of(const Array& var, double eps) {
    Values rstd;
    for (const double v : values(var)) rstd.push_back(1 / std::sqrt(v + eps));
    return Array::from(rstd, var.shape());
  }
};

struct GroupRun {
  Array mean, rstd, y, dx, dweight, dbias;

  GroupRun(const Array& x, std::int64_t groups, const Array& weight, const Array& bias, double eps,
           const Array& dy)
      : mean(Array::empty({x.shape()[0], groups}, f64)),
        rstd(like(mean)),
        y(like(x)),
        dx(like(x)),
        dweight(vector_for(x, x.dtype())),
        dbias(vector_for(x, x.dtype())) {
    REQUIRE(kernels().group_norm(y.view(), mean.view(), rstd.view(), x.view(), weight.view_or_none(),
                                 bias.view_or_none(), groups, eps));
    REQUIRE(kernels().group_norm_backward(dx.view(), dweight.view(), dbias.view(), dy.view(), x.view(),
                                          mean.view(), rstd.view(), weight.view_or_none(), groups));
  }
};

Values optional_values(const Array& x) { return x.defined() ? values(x) : Values(); }

void check_norm(const auto& run, const PlainNorm& want, double tolerance, double count) {
  check_close(run.y, want.y, tolerance);
  check_close(run.dx, want.dx, tolerance);
  const double scale = std::max(1.0, std::sqrt(count));
  check_close(run.dweight, want.dweight, tolerance, scale);
  check_close(run.dbias, want.dbias, tolerance, scale);
}

TEST_SUITE("kernels channels") {
  TEST_CASE("batch statistics, norm and gradients equal plain loops, with and without a mask") {
    for (const DType dtype : {f64, f32}) {
      const double tolerance = dtype == f64 ? 1e-11 : 1e-5;
      for (const Shape& shape : all_shapes) {
        for (const bool masked : {false, true}) {
          CAPTURE(detail::text(shape));
          CAPTURE(masked);
          const Array mask = masked ? random_mask({shape[0], shape[2]}) : Array();
          const Array x = normal(shape, dtype, 1, 3), dy = normal(shape, dtype, 2),
                      weight = normal({shape[1]}, dtype, 3), bias = normal({shape[1]}, dtype, 4);
          const Sets sets(shape);
          const PlainStatistics plain(values(x), sets, mask);
          for (const bool constant : {false, true}) {
            const BatchRun run(x, mask, weight, bias, 0.1, dy, constant);
            check_close(run.mean, plain.mean, 1e-12), check_close(run.var, plain.var, 1e-6);
            if (dtype == f64) check_close(run.var, plain.var, 1e-12);
            check_norm(run,
                       PlainNorm(values(x), sets, mask, plain.mean, plain.rstd(0.1), plain.number,
                                 values(weight), values(bias), values(dy), constant),
                       tolerance, static_cast<double>(shape[0] * shape[2]));
          }
        }
      }
    }
  }
  TEST_CASE("R4 group norm and gradients equal plain loops for every affine case") {
    for (const DType dtype : {f64, f32}) {
      for (const Shape& shape : all_shapes) {
        for (const std::int64_t groups : {std::int64_t{1}, std::int64_t{2}, shape[1]}) {
          if (shape[1] % groups != 0) continue;
          for (int affine = 0; affine < 4; ++affine) {
            CAPTURE(detail::text(shape));
            CAPTURE(groups);
            CAPTURE(affine);
            const Array x = normal(shape, dtype, 1, 3), dy = normal(shape, dtype, 2);
            const Array weight = affine & 1 ? normal({shape[1]}, dtype, 3) : Array(),
                        bias = affine & 2 ? normal({shape[1]}, dtype, 4) : Array();
            const Sets sets(shape, groups);
            const PlainStatistics plain(values(x), sets, {});
            const GroupRun run(x, groups, weight, bias, 0.1, dy);
            check_close(run.mean, plain.mean, 1e-12);
            check_close(run.rstd, plain.rstd(0.1), dtype == f64 ? 1e-12 : 1e-6);
            check_norm(run,
                       PlainNorm(values(x), sets, {}, plain.mean, plain.rstd(0.1), plain.number,
                                 optional_values(weight), optional_values(bias), values(dy), false),
                       dtype == f64 ? 1e-11 : 1e-5, static_cast<double>(shape[0] * shape[2]));
          }
        }
      }
    }
  }
  TEST_CASE("gradients of which some are absent, and empty batches") {
    for (const Shape& shape : {Shape{9, 6, 1}, Shape{3, 4, 40}}) {
      const Array x = normal(shape, f64, 1), dy = normal(shape, f64, 2), w = normal({shape[1]}, f64, 3);
      const BatchRun batch(x, {}, w, {}, 1e-5, dy);
      const Array rstd = BatchRun::rstd_of(batch.var, 1e-5);
      const GroupRun group(x, 2, w, {}, 1e-5, dy);
      for (int wanted = 1; wanted < 8; ++wanted) {
        const Array dx = wanted & 1 ? like(x) : Array(), dw = wanted & 2 ? like(w) : Array(),
                    db = wanted & 4 ? like(w) : Array();
        const auto check = [&](const auto& full) {
          if (wanted & 1) CHECK(same_bits(dx, full.dx));
          if (wanted & 2) CHECK(same_bits(dw, full.dweight));
          if (wanted & 4) CHECK(same_bits(db, full.dbias));
        };
        kernels().batch_norm_backward(dx.view_or_none(), dw.view_or_none(), db.view_or_none(), dy.view(),
                                      x.view(), {}, batch.mean.view(), rstd.view(), w.view(), false);
        check(batch);
        kernels().group_norm_backward(dx.view_or_none(), dw.view_or_none(), db.view_or_none(), dy.view(),
                                      x.view(), group.mean.view(), group.rstd.view(), w.view(), 2);
        check(group);
      }
    }
    for (const Shape& shape : {Shape{0, 4, 3}, Shape{0, 4, 50}, Shape{2, 4, 0}}) {
      const Array none = Array::empty(shape, f32), w = normal({4}, f32, 1);
      const BatchRun batch(none, {}, w, w, 1e-5, none);
      for (const Array& zero : {batch.mean, batch.var, batch.dweight, batch.dbias})
        check_close(zero, Values(4), 0);
      const GroupRun group(none, 2, w, w, 1e-5, none);
      check_close(group.dweight, Values(4), 0), check_close(group.dbias, Values(4), 0);
    }
  }
  TEST_CASE("a mask that lets nothing count, and values behind it that are not finite") {
    for (const Shape& shape : {Shape{6, 3, 1}, Shape{4, 3, 5}, Shape{2, 3, 70}}) {
      const Array none = Array::full({shape[0], shape[2]}, 0, boolean), some = random_mask(none.shape());
      const Array x = normal(shape, f32, 1), dy = normal(shape, f32, 2), w = normal({3}, f32, 3);
      const BatchRun empty(x, none, w, w, 1e-5, dy);
      for (const Array& zero : {empty.mean, empty.var, empty.y, empty.dx, empty.dweight, empty.dbias})
        check_close(zero, Values(static_cast<std::size_t>(zero.numel())), 0);
      const Array poisoned = x.clone(), upstream = dy.clone();
      const Sets sets(shape);
      for (std::size_t i = 0; i < static_cast<std::size_t>(x.numel()); ++i) {
        if (!sets.counts(some, i)) poisoned.data<float>()[i] = upstream.data<float>()[i] = NAN;
      }
      const BatchRun clean(x, some, w, w, 1e-5, dy), dirty(poisoned, some, w, w, 1e-5, upstream);
      CHECK((same_bits(clean.mean, dirty.mean) && same_bits(clean.var, dirty.var)));
      CHECK((same_bits(clean.y, dirty.y) && same_bits(clean.dx, dirty.dx)));
      CHECK((same_bits(clean.dweight, dirty.dweight) && same_bits(clean.dbias, dirty.dbias)));
    }
  }
  TEST_CASE("R17 batch and group norm of a large mean and small steps, f32") {
    for (const double mean : {0.0, 100.0, 1000.0, 10000.0}) {
      for (const Shape& shape : {Shape{16, 1, 1}, Shape{4, 1, 4}, Shape{1, 1, 16}, Shape{1, 1, 160}}) {
        std::vector<float> steps;
        for (std::int64_t i = 0; i < shape.numel(); ++i)
          steps.push_back(static_cast<float>(mean + static_cast<double>(i) * 0.001));
        const Array x = Array::from(steps, shape), dy = normal(shape, f32, 1);
        const PlainStatistics plain(values(x), Sets(shape), {});
        const PlainNorm want(values(x), Sets(shape), {}, plain.mean, plain.rstd(1e-5), plain.number, {}, {},
                             values(dy), false);
        check_close(BatchRun(x, {}, {}, {}, 1e-5, dy).y, want.y, 1e-5);
        if (shape[0] == 1) check_close(GroupRun(x, 1, {}, {}, 1e-5, dy).y, want.y, 1e-5);
      }
    }
  }
  TEST_CASE("R19 constant channels give the bias, with a finite gradient") {
    for (const double constant : {0.0, 0.1, 100.0, 1e7}) {
      for (const Shape& shape : {Shape{1000, 2, 1}, Shape{50, 2, 20}, Shape{10, 2, 100}}) {
        const Array x = Array::full(shape, constant, f32), w = normal({2}, f32, 1), b = normal({2}, f32, 2),
                    dy = normal(shape, f32, 3);
        const BatchRun batch(x, {}, w, b, 1e-12, dy);
        const GroupRun group(x, 2, w, b, 1e-12, dy);
        const Sets sets(shape);
        for (std::size_t i = 0; i < static_cast<std::size_t>(x.numel()); ++i) {
          const float bias = b.data<float>()[sets.channel(i)];
          REQUIRE(batch.y.data<float>()[i] == bias);
          REQUIRE(group.y.data<float>()[i] == bias);
        }
        CHECK((all_finite(batch.dx) && all_finite(batch.dweight) && all_finite(group.dx)));
      }
    }
  }
  TEST_CASE("R21 R22 channels of 1e30 and of 1e-30 in f32") {
    for (const Shape& shape : {Shape{4, 1, 1}, Shape{1, 1, 4}, Shape{1, 1, 40}}) {
      Array x = Array::empty(shape, f32);
      for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = i % 2 == 0 ? 1e30f : -1e30f;
      Values want;
      for (std::int64_t i = 0; i < x.numel(); ++i) want.push_back(i % 2 == 0 ? 1 : -1);
      const Array dy = normal(shape, f32, 1);
      const BatchRun large(x, {}, {}, {}, 1e-5, dy);
      check_close(large.y, want, 1e-5);
      CHECK(all_finite(large.dx));
      if (shape[0] == 1) check_close(GroupRun(x, 1, {}, {}, 1e-5, dy).y, want, 1e-5);
      for (std::int64_t i = 0; i < x.numel(); ++i)
        x.data<float>()[i] = x.data<float>()[i] > 0 ? 1e-30f : -1e-30f;
      const BatchRun small(x, {}, {}, {}, 1e-5, dy);
      CHECK((all_finite(small.y) && all_finite(small.dx)));
      check_close(small.y, Values(want.size()), 1e-20);
      check_close(BatchRun(x, {}, {}, {}, 0, dy).y, want, 1e-5);  // without eps the size cancels
    }
  }
  TEST_CASE("R23 a NaN or an infinity stays in its channel, or its group") {
    for (const Shape& shape : {Shape{5, 4, 1}, Shape{5, 4, 3}, Shape{3, 4, 40}}) {
      for (const float poison : {NAN, INFINITY}) {
        const Array clean = normal(shape, f32, 1), dirty = clean.clone(), dy = normal(shape, f32, 2);
        const std::int64_t at = shape[2] * 5;  // sample 1, channel 1
        dirty.data<float>()[at] = poison;
        const BatchRun a(clean, {}, {}, {}, 1e-5, dy), b(dirty, {}, {}, {}, 1e-5, dy);
        const GroupRun c(clean, 2, {}, {}, 1e-5, dy), d(dirty, 2, {}, {}, 1e-5, dy);
        const Sets channels(shape), groups(shape, 2);
        for (std::size_t i = 0; i < static_cast<std::size_t>(clean.numel()); ++i) {
          const auto same = [&](const Array& left, const Array& right) {
            return left.data<float>()[i] == right.data<float>()[i];
          };
          if (channels.channel(i) != 1) CHECK((same(a.y, b.y) && same(a.dx, b.dx)));
          if (groups.set(i) != 2) CHECK((same(c.y, d.y) && same(c.dx, d.dx)));
        }
        CHECK_FALSE(std::isfinite(b.y.data<float>()[at]));
        CHECK_FALSE(std::isfinite(d.y.data<float>()[at]));
      }
    }
  }
  TEST_CASE("R24 statistics of 3.8e7 elements in one group, and in one channel") {
    Generator generator(1);
    const Array x = Array::random(Random::uniform, {1, 1, 38000000}, 0, 1, f32, cpu, generator);
    double sum = 0, squares = 0;
    const float* at = x.data<float>();
    for (std::int64_t i = 0; i < x.numel(); ++i) sum += static_cast<double>(at[i]);
    const double count = static_cast<double>(x.numel()), want = sum / count;
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const double centred = static_cast<double>(at[i]) - want;
      squares += centred * centred;
    }
    const Array y = like(x), mean = Array::empty({1}, f64), var = Array::empty({1}, f64);
    kernels().group_norm(y.view(), mean.unsqueeze(0).view(), var.unsqueeze(0).view(), x.view(), {}, {}, 1, 0);
    CHECK(std::fabs(mean.item() / want - 1) < 1e-6);
    CHECK(std::fabs(1 / (var.item() * var.item()) / (squares / count) - 1) < 1e-6);
    for (const Shape& shape : {Shape{1, 1, 38000000}, Shape{38000000, 1, 1}}) {
      kernels().batch_statistics(mean.view(), var.view(), x.reshape(shape).view(), {});
      CHECK(std::fabs(mean.item() / want - 1) < 1e-6);
      CHECK(std::fabs(var.item() / (squares / count) - 1) < 1e-6);
    }
  }
  TEST_CASE("R26 eps is added to the variance, unscaled") {
    const Array x = Array::from(std::vector<float>{1, 3}, {1, 1, 2}), dy = normal({1, 1, 2}, f32, 1);
    const Values want{-1 / std::sqrt(1.5), 1 / std::sqrt(1.5)};
    check_close(BatchRun(x, {}, {}, {}, 0.5, dy).y, want, 1e-6);
    check_close(GroupRun(x, 1, {}, {}, 0.5, dy).y, want, 1e-6);
  }
}

}  // namespace
}  // namespace norma::tests
