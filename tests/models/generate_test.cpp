#include "models/generate.h"

#include <doctest/doctest.h>

#include <limits>

#include "tests/messages.h"
#include "tests/models/small_gpt.h"

using namespace norma;
using namespace norma::models;
using namespace norma::tests;

namespace {

using Logits = std::vector<float>;
constexpr float infinity = std::numeric_limits<float>::infinity();

// How often each index is drawn in 4000 tries.
std::vector<double> frequencies(const Logits& logits, const SamplingOptions& options) {
  Generator generator(9);
  std::vector<double> counts(logits.size());
  for (int i = 0; i < 4000; ++i)
    counts[static_cast<std::size_t>(sample(logits, options, generator))] += 1.0 / 4000;
  return counts;
}

}  // namespace

TEST_SUITE_BEGIN("generate");

TEST_CASE("sample: temperature 0 and top_k 1 take the likeliest, the first among equals") {
  Generator generator(1);
  CHECK(sample(Logits{1, 3, 3, 2}, {.temperature = 0}, generator) == 1);
  CHECK(generator.state().offset == 0);
  for (int i = 0; i < 20; ++i) CHECK(sample(Logits{1, 3, 3, 2}, {.top_k = 1}, generator) == 1);
}

TEST_CASE("sample: frequencies are the probabilities, at any temperature") {
  const Logits logits{0, static_cast<float>(std::log(3.0)), -infinity};
  const auto plain = frequencies(logits, {});
  CHECK(plain[0] == doctest::Approx(0.25).epsilon(0.1));
  CHECK(plain[1] == doctest::Approx(0.75).epsilon(0.05));
  CHECK(plain[2] == 0);
  const auto cold = frequencies(logits, {.temperature = 0.5});  // odds squared: 1 to 9
  CHECK(cold[0] == doctest::Approx(0.1).epsilon(0.2));
  CHECK(frequencies({-infinity, -infinity}, {})[0] == doctest::Approx(0.5).epsilon(0.1));
}

TEST_CASE("sample: top_k and top_p cut the unlikely") {
  const auto log = [](double p) { return static_cast<float>(std::log(p)); };
  const Logits logits{log(0.1), log(0.4), log(0.2), log(0.3)};
  const auto two = frequencies(logits, {.top_k = 2});
  CHECK((two[0] == 0 && two[2] == 0));
  CHECK(two[1] == doctest::Approx(4.0 / 7).epsilon(0.05));
  const auto nucleus = frequencies(logits, {.top_p = 0.65});  // 0.4 + 0.3 reach it
  CHECK((nucleus[0] == 0 && nucleus[2] == 0 && nucleus[3] > 0.3));
  const auto narrow = frequencies(logits, {.top_p = 1e-6});
  CHECK(narrow[1] == doctest::Approx(1));
  const auto all = frequencies(logits, {.top_k = 100});
  CHECK(all[0] > 0.05);
}

TEST_CASE("sample: options and logits that make no sense are refused") {
  Generator generator;
  CHECK_THROWS_MESSAGE_HAS(sample(Logits{1}, {.temperature = -1}, generator), "temperature");
  CHECK_THROWS_MESSAGE_HAS(sample(Logits{1}, {.top_k = -1}, generator), "top_k");
  CHECK_THROWS_MESSAGE_HAS(sample(Logits{1}, {.top_p = 0}, generator), "top_p must lie in (0, 1], got 0");
  CHECK_THROWS_MESSAGE_HAS(sample(Logits{}, {}, generator), "no logits");
  CHECK_THROWS_MESSAGE_HAS(sample(Logits{1, NAN}, {}, generator), "NaN");
}

TEST_CASE("R62 generate: the cache changes no token, within the context and beyond it") {
  for (const char* positions : {"learned", "rotary"}) {
    GptOptions options = small_options();
    options.positions = positions;
    Gpt model = trained_gpt(options);
    for (const std::int64_t prompt : {1, 5, 8, 12}) {
      const Array prompts = some_tokens(3, prompt, 11).array();
      Generator a(4), b(4);
      const Array cached = generate(model, prompts, 25, {}, a);
      CHECK(cached.shape() == Shape{3, 25});
      CHECK(cached.to_vector<std::int64_t>() ==
            generate(model, prompts, 25, {.cache = false}, b).to_vector<std::int64_t>());
    }
  }
}

TEST_CASE("generate: greedy tokens are the maxima of the logits") {
  Gpt model = trained_gpt(small_options());
  const Array prompts = some_tokens(2, 3, 11).array();
  Generator unused;
  const Array next = generate(model, prompts, 1, {.sampling = {.temperature = 0}}, unused);
  const NoGrad guard;
  CHECK(next.to_vector<std::int64_t>() ==
        model(Tensor(prompts)).select(1, -1).argmax(-1).to_vector<std::int64_t>());
}

TEST_CASE("generate: modes are restored, callers may stop, and nothing is no error") {
  GptOptions options = small_options();
  options.dropout = 0.5;
  Gpt model = trained_gpt(options);
  model.train();
  Generator a(1), b(1);
  const Array prompts = some_tokens(2, 3, 11).array();
  const auto first = generate(model, prompts, 5, {}, a).to_vector<std::int64_t>();
  CHECK(model.is_training());
  CHECK(first == generate(model, prompts, 5, {}, b).to_vector<std::int64_t>());  // no dropout
  int calls = 0;
  const GenerateOptions three{.on_token = [&](std::span<const std::int64_t> tokens) {
    CHECK(tokens.size() == 2);
    return ++calls < 3;
  }};
  CHECK(generate(model, prompts, 100, three, a).shape() == Shape{2, 3});
  CHECK(generate(model, prompts, 0, {}, a).shape() == Shape{2, 0});
  CHECK(generate(model, Array::empty({0, 3}, i64), 4, {}, a).shape() == Shape{0, 4});
  CHECK_THROWS_MESSAGE_HAS(generate(model, Array::empty({2, 0}, i64), 4, {}, a), "length >= 1");
  CHECK_THROWS_MESSAGE_HAS(generate(model, Array::zeros({2, 3}), 4, {}, a), "f32");
  CHECK_THROWS_MESSAGE_HAS(generate(model, prompts, -1, {}, a), "count");
}

TEST_SUITE_END();
