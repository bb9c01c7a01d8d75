// Starting values of Transformers, and what the papers say about a model at its start.
#include "nn/transformer_init.h"

#include <doctest/doctest.h>

#include <cmath>

#include "models/gpt.h"
#include "tests/messages.h"

using namespace norma;
using namespace norma::nn;
using models::Gpt;
using models::GptOptions;

namespace {

double std_of(const Tensor& x) { return x.detach().to(f64).square().mean().sqrt().item(); }

Gpt model_of(TransformerInit init, std::int64_t layers = 3) {
  manual_seed(4);
  return Gpt({.vocabulary = 50,
              .context = 8,
              .layers = layers,
              .heads = 4,
              .kv_heads = 2,
              .width = 64,
              .init = init});
}

struct Stds {
  double q, v, out, up, down, embedding;
};

Stds stds_of(Gpt& model, std::size_t block) {
  std::vector<Tensor> parts;
  const std::string prefix = "blocks." + std::to_string(block);
  const auto named = model.named_parameters();
  const auto find = [&](const std::string& name) {
    for (const auto& [key, value] : named) {
      if (key == name) return value.detach();
    }
    FAIL("no parameter " << name);
    return Tensor();
  };
  const Tensor qkv = find(prefix + ".attention.qkv_proj.weight");  // 64 + 2 * 32 rows
  return {std_of(qkv.narrow(0, 0, 64)),
          std_of(qkv.narrow(0, 96, 32)),
          std_of(find(prefix + ".attention.out_proj.weight")),
          std_of(find(prefix + ".ffn.up_proj.weight")),
          std_of(find(prefix + ".ffn.down_proj.weight")),
          std_of(find("token_embedding.weight"))};
}

void check(const Stds& found, const Stds& expected) {
  const auto close = [](double a, double b) { CHECK(a == doctest::Approx(b).epsilon(0.07)); };
  close(found.q, expected.q);
  close(found.v, expected.v);
  close(found.out, expected.out);
  close(found.up, expected.up);
  close(found.down, expected.down);
  close(found.embedding, expected.embedding);
}

/// sqrt of the mean square of the stream after each block, for a new model with N(0, 1) in place of
/// embeddings.
std::vector<double> stream_sizes(const Placement& placement, std::int64_t layers, std::int64_t width) {
  manual_seed(9);
  Gpt model({.vocabulary = 5,
             .context = 16,
             .layers = layers,
             .heads = 4,
             .width = width,
             .placement = placement,
             .init = TransformerInit::xavier});
  std::vector<double> sizes;
  Stream x(randn({4, 16, width}));
  for (TransformerBlock& block : model.blocks) {
    x = block.run(x);
    sizes.push_back(x.value().detach().square().mean().item());
  }
  return sizes;
}

}  // namespace

TEST_SUITE_BEGIN("starting values");

TEST_CASE("each initialization has its standard deviations") {
  const double base = 1 / std::sqrt(2.5 * 64),
               cut = base * std::sqrt(0.97334);  // variance left by the cut at 3
  const double back = std::sqrt(2.0 * 3);
  for (std::size_t block = 0; block < 3; ++block) {
    CAPTURE(block);
    Gpt gpt2 = model_of(TransformerInit::gpt2), normal = model_of(TransformerInit::normal),
        deep = model_of(TransformerInit::depth_scaled), megatron = model_of(TransformerInit::megatron),
        xavier = model_of(TransformerInit::xavier), deepnorm = model_of(TransformerInit::deepnorm);
    check(stds_of(gpt2, block), {0.02, 0.02, 0.02 / back, 0.02, 0.02 / back, 0.02});
    check(stds_of(normal, block), {cut, cut, cut, cut, cut, cut});
    const double depth = std::sqrt(2.0 * static_cast<double>(block + 1));
    check(stds_of(deep, block), {cut, cut, cut / depth, cut, cut / depth, cut});
    check(stds_of(megatron, block), {cut, cut, cut / back, cut, cut / back, cut});
    const double q = std::sqrt(2.0 / 128), v = std::sqrt(2.0 / 96), ffn = std::sqrt(2.0 / 320);
    check(stds_of(xavier, block), {q, v, q, ffn, ffn, 0.02});
    const double gain = std::pow(8.0 * 3, -0.25);
    check(stds_of(deepnorm, block), {q, v * gain, q * gain, ffn * gain, ffn * gain, 0.02});
  }
  CHECK(1 / std::sqrt(2.5 * 2048) == doctest::Approx(0.013975).epsilon(1e-4));  // the paper's figure
}

TEST_CASE("norms and biases start at 1 and 0, and nothing exceeds the cut") {
  Gpt model = model_of(TransformerInit::normal);
  for (const NamedTensor& named : model.named_parameters()) {
    const auto& name = named.first;
    const auto& parameter = named.second;
    CAPTURE(name);
    if (name.ends_with("bias")) CHECK(parameter.detach().abs().max().item() == 0);
    if (name.find("norm") != std::string::npos && name.ends_with("weight"))
      CHECK((parameter.detach() - 1).abs().max().item() == 0);
    if (parameter.dim() == 2) CHECK(parameter.detach().abs().max().item() <= 3.0001 / std::sqrt(2.5 * 64));
  }
}

TEST_CASE("the initialization is the placement's unless one is given") {
  const auto first_weight = [](GptOptions options) {
    manual_seed(4);
    options.vocabulary = 50, options.width = 64, options.layers = 2;
    Gpt model(options);
    return std_of(model.blocks[0].attention.out_proj.weight);
  };
  CHECK(first_weight({}) == doctest::Approx(0.01).epsilon(0.05));
  CHECK(first_weight({.placement = make_placement("hybrid")}) == doctest::Approx(0.079 / 2).epsilon(0.05));
  CHECK(first_weight({.placement = make_placement("post")}) == doctest::Approx(0.125).epsilon(0.05));
  CHECK(first_weight({.placement = make_placement("post"), .init = TransformerInit::gpt2}) ==
        doctest::Approx(0.01).epsilon(0.05));
}

TEST_CASE("names of initializations") {
  for (const char* name : {"gpt2", "normal", "depth-scaled", "megatron", "xavier", "deepnorm"})
    CHECK_NOTHROW(static_cast<void>(parse_transformer_init(name)));
  CHECK_THROWS_MESSAGE_HAS(parse_transformer_init("zero"), "unknown name \"zero\"; known are gpt2, normal");
  Gpt model = model_of(TransformerInit::gpt2);
  CHECK_THROWS_MESSAGE_HAS(initialize_transformer(model, {.layers = 0}), "needs layers and width >= 1");
}

TEST_CASE("the stream at the start: constant under Post-Norm, growing with depth under Pre-Norm") {
  // Xiong et al. 2020, Lemma 2, measured: (1 + l / 2) d <= E|x_l|^2 <= (1 + 3 l / 2) d under Pre-Norm.
  const std::vector<double> post = stream_sizes(make_placement("post"), 6, 128);
  const std::vector<double> pre = stream_sizes(make_placement("pre"), 6, 128);
  for (std::size_t l = 0; l < 6; ++l) {
    CAPTURE(l);
    CHECK(post[l] == doctest::Approx(1).epsilon(0.01));
    if (l > 0) CHECK(pre[l] > pre[l - 1]);
    const double depth = static_cast<double>(l + 1);
    CHECK(pre[l] < 1 + 1.5 * depth);
    CHECK(pre[l] > 1 + 0.1 * depth);
  }
}

TEST_CASE(
    "the gradient of the last feed-forward layer: flat in depth under Post-Norm, falling under Pre-Norm") {
  const auto gradient_norm = [](const char* placement, std::int64_t layers) {
    double sum = 0;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      manual_seed(seed);
      Gpt model({.vocabulary = 32,
                 .context = 16,
                 .layers = layers,
                 .heads = 2,
                 .width = 64,
                 .placement = make_placement(placement),
                 .init = TransformerInit::xavier,
                 .activation = "relu",
                 .tied = false});
      const Tensor tokens = randint(0, 32, {8, 16});
      const Tensor loss = cross_entropy(model(tokens), randint(0, 32, {8, 16}));
      for (const auto& [name, parameter] : model.named_parameters()) {
        if (name == "blocks." + std::to_string(layers - 1) + ".ffn.down_proj.weight")
          sum += grad({loss}, {parameter}, {}, {.retain_graph = true})[0].norm().item();
      }
    }
    return sum / 3;
  };
  const double post = gradient_norm("post", 12) / gradient_norm("post", 3);
  const double pre = gradient_norm("pre", 12) / gradient_norm("pre", 3);
  CHECK(post == doctest::Approx(1).epsilon(0.15));
  CHECK(pre < 0.75);  // 1 / sqrt(L) would be 0.5, and the embedding counts as a layer or two
}

TEST_SUITE_END();
