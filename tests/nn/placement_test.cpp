// Residual schemes and placements: every named one against its equations written out here, and the statements
// of the note and the papers about them. Numbers are those of the robustness checklist.
#include "nn/placement.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "autograd/gradcheck.h"
#include "autograd/normalization.h"
#include "nn/block.h"
#include "nn/feed_forward.h"
#include "nn/init.h"
#include "tests/messages.h"
#include "tests/nn/layer_table.h"

using namespace norma;
using namespace norma::nn;
using namespace norma::tests;

namespace {

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return (a.detach() - b.detach()).abs().max().item();
}

/// x * factor as a layer.
class Scaled : public Module {
 public:
  explicit Scaled(double factor) : factor_(factor) {}
  Tensor operator()(const Tensor& x) const { return x * factor_; }
  NORMA_PARTS()

 private:
  double factor_;
};

BlockOptions small_block(std::string_view norm = "layer") {
  return {.attention = {.embed_dim = 8, .num_heads = 2, .causal = true, .rotary = true}, .norm = norm};
}

TransformerBlock block_of(const Placement& placement, std::int64_t layer, std::int64_t layers,
                          const BlockOptions& options = small_block()) {
  TransformerBlock block(options, placement.layer(layer, layers));
  block.to(f64);
  randomize(block, 11);
  return block;
}

/// One layer written out: A attention, F feed-forward, n1, o1, n2, o2 the norms.
using Equation = std::function<Tensor(TransformerBlock& b, const Tensor& x, double layer, double layers)>;

Tensor a(TransformerBlock& b, const Tensor& x) { return b.attention(x); }
Tensor f(TransformerBlock& b, const Tensor& x) { return b.ffn(x); }

Tensor pre_pre(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = x + a(b, b.norm1(x));
  return y + f(b, b.norm2(y));
}
Tensor post_post(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = b.norm1(x + a(b, x));
  return b.norm2(y + f(b, y));
}
Tensor none_pre(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = x + a(b, x);
  return y + f(b, b.norm2(y));
}
Tensor none_post(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = x + a(b, x);
  return b.norm2(y) + f(b, b.norm2(y));
}
Tensor pre_post(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = x + a(b, b.norm1(x));
  return b.norm2(y) + f(b, b.norm2(y));
}
Tensor post_pre(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = b.norm1(x) + a(b, b.norm1(x));
  return y + f(b, b.norm2(y));
}
Tensor around(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = x + b.norm1_out(a(b, b.norm1(x)));
  return y + b.norm2_out(f(b, b.norm2(y)));
}
Tensor after(TransformerBlock& b, const Tensor& x, double, double) {
  const Tensor y = x + b.norm1(a(b, x));
  return y + b.norm2(f(b, y));
}

const std::map<std::string, Equation>& equations() {
  static const std::map<std::string, Equation> table = {
      {"pre", pre_pre},
      {"post", post_post},
      {"qk", pre_pre},
      {"qkv", none_pre},
      {"qkvc", none_pre},
      {"softcap", pre_pre},
      {"rybakov-qk", pre_pre},
      {"rybakov-qk-cap", pre_pre},
      {"rybakov-qkv", none_pre},
      {"rybakov-qk-fc", around},
      {"mix",
       [](TransformerBlock& b, const Tensor& x, double layer, double layers) {
         return layer < 0.25 * layers ? post_post(b, x, layer, layers) : pre_pre(b, x, layer, layers);
       }},
      {"hybrid", none_post},
      {"hybrid*",
       [](TransformerBlock& b, const Tensor& x, double layer, double layers) {
         return layer == 0 ? pre_post(b, x, layer, layers) : none_post(b, x, layer, layers);
       }},
      {"deepnorm",
       [](TransformerBlock& b, const Tensor& x, double, double layers) {
         const double alpha = std::pow(2 * layers, 0.25);
         const Tensor y = b.norm1(alpha * x + a(b, x));
         return b.norm2(alpha * y + f(b, y));
       }},
      {"sandwich", around},
      {"output", after},
      {"scaled-pre",
       [](TransformerBlock& b, const Tensor& x, double layer, double) {
         const Tensor y = x + a(b, b.norm1(x) / std::sqrt(layer + 1));
         return y + f(b, b.norm2(y) / std::sqrt(layer + 1));
       }},
      {"layer-scale", around},
      {"rezero", after},
      {"pre-post", pre_post},
      {"post-pre", post_pre},
  };
  return table;
}

/// The equation of a name; members of the ablation family are read from their names.
Equation equation_of(const std::string& name) {
  if (const auto found = equations().find(name); found != equations().end()) return found->second;
  const bool pre = name.starts_with("pre-"), post = name.ends_with("-post");
  REQUIRE((post || name.ends_with("-pre")));
  return pre ? (post ? pre_post : pre_pre) : (post ? none_post : none_pre);
}

/// Letters of the norms that attention has, from the names of its parameters.
std::string attention_norms(TransformerBlock& block) {
  std::string letters;
  const MultiheadAttention& attention = block.attention;
  if (attention.q_norm) letters += 'q';
  if (attention.k_norm) letters += 'k';
  if (attention.v_norm) letters += 'v';
  if (attention.context_norm) letters += 'c';
  return letters;
}

std::string expected_norms(const std::string& name) {
  if (name == "qk" || name.starts_with("rybakov-qk")) return name == "rybakov-qkv" ? "qkv" : "qk";
  if (name == "hybrid" || name == "hybrid*") return "qkv";
  for (const char* letters : {"qkvc", "qkv", "qkc", "qk", "kv", "kc"}) {
    if (name.find(letters) != std::string::npos) return letters;
  }
  return "";
}

void silence(TransformerBlock& block) {
  Linear& last = block.ffn.get<FeedForward>()->down_proj;
  init::zeros_(last.weight);
  init::zeros_(last.bias);
}

/// Attention of one head that gives back what it reads, where there is only one position.
void make_identity(MultiheadAttention& attention) {
  const std::int64_t d = attention.options().embed_dim;
  init::zeros_(attention.qkv_proj.weight);
  attention.qkv_proj.weight.detach().narrow(0, 2 * d, d).copy_(eye(d, f64));
  init::zeros_(attention.qkv_proj.bias);
  attention.out_proj.weight = eye(d, f64);
  init::zeros_(attention.out_proj.bias);
}

/// A block of one head without a feed-forward part, whose attention gives back what it reads.
TransformerBlock bare_block(const LayerPlacement& placement) {
  TransformerBlock block({.attention = {.embed_dim = 4, .num_heads = 1}, .norm = "rms"}, placement);
  block.to(f64);
  make_identity(block.attention);
  silence(block);
  return block;
}

}  // namespace

TEST_SUITE_BEGIN("placements");

TEST_CASE("residual schemes are their equations, on a tensor and on a sum that is not made yet") {
  AnyLayer ten = Scaled(10), two = Scaled(2);
  const Sublayer plus_one = [](const Tensor& u) { return u + 1; };
  const std::pair<Residual, double> expected[] = {
      {Residual::plain(), 3 + 4},
      {Residual::pre(), 3 + 31},
      {Residual::post(), 10 * (3 + 4)},
      {Residual::normed(), 30 + 31},
      {Residual::output(), 3 + 10 * 4},
      {Residual::sandwich(), 3 + 2 * 31},
      {Residual::scaled_post(3), 10 * (9 + 4)},
      {Residual::scaled_pre(0.5), 3 + 16},
      {Residual::rezero(), 3 + 10 * 4},
      {Residual::layer_scale(), 3 + 2 * 31},
  };
  for (const auto& row : expected) {
    const Residual& scheme = row.first;
    const double value = row.second;
    CAPTURE(scheme.equation);
    CHECK(scheme.apply(tensor({3}, f64), {ten, two}, plus_one).value().item() == value);
    CHECK(scheme.apply({tensor({1}, f64), tensor({2}, f64)}, {ten, two}, plus_one).value().item() == value);
  }
}

TEST_CASE("R53 every named placement is its equation in every layer") {
  const Tensor x = normal({2, 5, 8});
  for (const Placement& placement : placements()) {
    const Equation equation = equation_of(placement.name);
    for (std::int64_t layer = 0; layer < 8; layer += layer < 2 ? 1 : 5) {
      CAPTURE(placement.name);
      CAPTURE(layer);
      TransformerBlock block = block_of(placement, layer, 8);
      const Tensor expected = equation(block, x, static_cast<double>(layer), 8);
      CHECK(difference(block(x), expected) <= 1e-12 * (1 + expected.abs().max().item()));
      CHECK(attention_norms(block) == expected_norms(placement.name));
    }
    CHECK_FALSE(placement.equation.empty());
    CHECK_FALSE(placement.source.empty());
  }
  CHECK(placements().size() == 45);
}

TEST_CASE("R15 caps and temperatures of placements reach the scores") {
  const Tensor x = normal({1, 5, 8}) * 3;
  const auto attention = [&](const char* name, const PlacementOptions& options) {
    TransformerBlock block = block_of(make_placement(name, options), 0, 2);
    return block.attention(x);
  };
  for (const char* name : {"softcap", "rybakov-qk-cap"})
    CHECK(difference(attention(name, {.cap = 50}), attention(name, {.cap = 0.1})) > 1e-3);
  TransformerBlock qk = block_of(make_placement("qk"), 0, 2);
  REQUIRE(qk.attention.temperature);
  const Tensor before = qk.attention(x);
  qk.attention.temperature->weight = full({1}, 0.01, f64);
  CHECK(difference(qk.attention(x), before) > 1e-3);
}

TEST_CASE("R53 identity attention, no feed-forward: closed forms of Pre, Post, HybridNorm and HybridNorm*") {
  const Tensor x = tensor({1, 2, 3, 4}, f64).reshape({1, 1, 4});
  const auto n = [](const Tensor& u) { return rms_norm(u); };
  const auto at = [&](const char* name, std::int64_t layer, const PlacementOptions& options = {}) {
    return bare_block(make_placement(name, options).layer(layer, 2))(x);
  };
  CHECK(difference(at("pre", 0), x + n(x)) < 1e-12);
  CHECK(difference(at("post", 0), n(n(x + x))) < 1e-12);
  CHECK(difference(at("hybrid", 0), n(x + n(x))) < 1e-12);
  CHECK(difference(at("hybrid*", 0), n(x + n(n(x)))) < 1e-12);
  CHECK(difference(at("hybrid*", 0, {.first_block = FirstBlock::paper}), x + n(n(x))) < 1e-12);
  CHECK(difference(at("hybrid*", 1), n(x + n(x))) < 1e-12);
  CHECK(difference(at("qkv", 0), x + n(x)) < 1e-12);
  CHECK(difference(at("output", 0), x + n(x) + n(0 * x)) < 1e-12);
}

TEST_CASE("R54 Mix-LN: Post in the first floor(alpha L) layers, Pre in the others") {
  const auto posts = [](double alpha, std::int64_t layers) {
    const Placement mix = make_placement("mix", {.mix_alpha = alpha});
    std::int64_t count = 0;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const bool post = mix.layer(layer, layers).attention.equation == Residual::post().equation;
      CHECK(mix.layer(layer, layers).ffn.equation == mix.layer(layer, layers).attention.equation);
      if (post) CHECK(count == layer);
      count += post ? 1 : 0;
    }
    return count;
  };
  CHECK(posts(0.25, 12) == 3);
  CHECK(posts(0.25, 24) == 6);
  CHECK(posts(0.25, 5) == 1);  // 1.25
  CHECK(posts(0.25, 3) == 0);  // 0.75
  CHECK(posts(0.0625, 32) == 2);
  CHECK(posts(0.3, 10) == 3);  // 0.3 * 10 is below 3 in binary arithmetic
  CHECK(posts(0, 4) == 0);
  CHECK(posts(1, 4) == 4);
  const Tensor x = normal({2, 3, 8});
  for (std::int64_t layer = 0; layer < 3; ++layer) {
    for (const auto& [alpha, name] : {std::pair{0.0, "pre"}, {1.0, "post"}}) {
      TransformerBlock mix = block_of(make_placement("mix", {.mix_alpha = alpha}), layer, 3);
      TransformerBlock pure = block_of(make_placement(name), layer, 3);
      CHECK(mix(x).to_vector<double>() == pure(x).to_vector<double>());
    }
  }
}

TEST_CASE("R55 HybridNorm*: only the first block differs, for one layer and for two") {
  const Tensor x = normal({2, 4, 8});
  for (const std::int64_t layers : {1, 2}) {
    for (const FirstBlock first : {FirstBlock::note, FirstBlock::paper}) {
      const Placement star = make_placement("hybrid*", {.first_block = first});
      Tensor stack = x, by_hand = x;
      for (std::int64_t layer = 0; layer < layers; ++layer) {
        TransformerBlock block = block_of(star, layer, layers);
        stack = block(stack);
        const Tensor y = by_hand + block.attention(layer == 0 ? block.norm1(by_hand) : by_hand);
        const Tensor u = block.norm2(y);
        by_hand = block.ffn(u) + (layer == 0 && first == FirstBlock::paper ? y : u);
      }
      CHECK(difference(stack, by_hand) < 1e-12);
    }
  }
  TransformerBlock note = block_of(make_placement("hybrid*"), 0, 2);
  TransformerBlock paper = block_of(make_placement("hybrid*", {.first_block = FirstBlock::paper}), 0, 2);
  const Tensor y = x + note.attention(note.norm1(x));
  CHECK(difference(note(x) - paper(x), note.norm2(y) - y) < 1e-12);
}

TEST_CASE("DeepNorm with a = 1 is Post-Norm; its a") {
  const Tensor x = normal({2, 3, 8});
  const Placement plain{.name = "a = 1", .layer = [](std::int64_t, std::int64_t) {
                          return LayerPlacement{.attention = Residual::scaled_post(1),
                                                .ffn = Residual::scaled_post(1)};
                        }};
  TransformerBlock one = block_of(plain, 0, 1), post = block_of(make_placement("post"), 0, 1);
  CHECK(difference(one(x), post(x)) < 1e-14);
  for (const auto& [layers, a] : {std::pair{6, "1.861"}, {12, "2.213"}, {24, "2.632"}, {32, "2.828"}}) {
    const std::string equation = make_placement("deepnorm").layer(0, layers).attention.equation;
    CHECK_MESSAGE(equation.starts_with("N(" + std::string(a).substr(0, 4)), equation);
  }
}

TEST_CASE("gradients of every placement match central differences, and so do second derivatives") {
  for (const Placement& placement : placements()) {
    CAPTURE(placement.name);
    TransformerBlock block = block_of(placement, 0, 4);
    const Tensor upstream = normal({1, 3, 8}, 99);
    const auto function = [&](const std::vector<Tensor>& in) { return block(in[0]) * upstream; };
    const std::vector<Tensor> x{normal({1, 3, 8}).set_requires_grad()};
    const GradCheckReport first = gradcheck(function, x, {.random_direction = true});
    CHECK_MESSAGE(first.passed, first.message);
    const GradCheckReport second = gradgradcheck(function, x, {.random_direction = true});
    CHECK_MESSAGE(second.passed, second.message);
  }
}

TEST_CASE("kernels and definitions agree on every placement, with LayerNorm and RMSNorm") {
  const Tensor x = normal({2, 5, 8});
  for (const Placement& placement : placements()) {
    for (const char* norm : {"layer", "rms"}) {
      CAPTURE(placement.name);
      TransformerBlock block = block_of(placement, 1, 4, small_block(norm));
      const auto gradients = [&] {
        const Tensor leaf = x.clone().detach().set_requires_grad();
        std::vector<Tensor> wanted = block.parameters();
        wanted.push_back(leaf);
        return grad({block(leaf)}, wanted, {normal({2, 5, 8}, 99)}, {.allow_unused = true});
      };
      const auto with_kernels = gradients();
      const DefinitionsOnly definitions;
      const auto without = gradients();
      for (std::size_t i = 0; i < without.size(); ++i) {
        REQUIRE(with_kernels[i].defined() == without[i].defined());
        if (without[i].defined())
          CHECK(difference(with_kernels[i], without[i]) < 1e-10 * (1 + without[i].abs().max().item()));
      }
    }
  }
}

TEST_CASE("a later position does not reach earlier ones, in any placement") {
  const Tensor x = normal({1, 6, 8});
  const Tensor changed = x.clone();
  changed.narrow(1, 4, 2).fill_(0.7);
  for (const Placement& placement : placements()) {
    CAPTURE(placement.name);
    TransformerBlock block = block_of(placement, 0, 2);
    const Tensor y = block(x), z = block(changed);
    CHECK(y.narrow(1, 0, 4).to_vector<double>() == z.narrow(1, 0, 4).to_vector<double>());
    CHECK(difference(y, z) > 1e-3);
  }
}

TEST_CASE("a placement of one's own") {
  const Placement mine{.name = "mine", .layer = [](std::int64_t layer, std::int64_t) {
                         LayerPlacement p{.attention = Residual::sandwich(), .ffn = Residual::normed()};
                         if (layer > 0) p.norms.q = p.norms.k = "block";
                         return p;
                       }};
  const Residual half{.equation = "x + F(N(x)) / 2",
                      .apply = [](const Stream& s, const SublayerNorms& n, const Sublayer& sublayer) {
                        const auto [x, normed] = s.through(n.first);
                        return Stream(x, sublayer(normed) / 2);
                      }};
  const Tensor x = normal({2, 4, 8});
  TransformerBlock own = block_of(mine, 1, 2);
  CHECK(attention_norms(own) == "qk");
  const Tensor y = x + own.norm1_out(own.attention(own.norm1(x)));
  CHECK(difference(own(x), own.norm2(y) + own.ffn(own.norm2(y))) < 1e-12);
  TransformerBlock halved(small_block(), {.attention = half, .ffn = half});
  halved.to(f64);
  const Tensor h = x + halved.attention(halved.norm1(x)) / 2;
  CHECK(difference(halved(x), h + halved.ffn(halved.norm2(h)) / 2) < 1e-12);
}

TEST_CASE("placements that are none, and options out of range, are refused") {
  CHECK_THROWS_MESSAGE_HAS(make_placement("middle"),
                           "placement: unknown name \"middle\"; known are pre, post");
  CHECK_THROWS_MESSAGE_HAS(make_placement("mix", {.mix_alpha = 1.5}),
                           "mix_alpha must lie in [0, 1], got 1.5");
  CHECK_THROWS_MESSAGE_HAS(make_placement("softcap", {.cap = 0}), "cap must be finite and > 0, got 0");
  CHECK_THROWS_MESSAGE_HAS(TransformerBlock(small_block(), {.attention = {.equation = "?"}}),
                           "Residual::apply");
  CHECK_THROWS_MESSAGE_HAS(TransformerBlock(small_block("medium"), {}), "unknown norm \"medium\"");
}

TEST_SUITE_END();
