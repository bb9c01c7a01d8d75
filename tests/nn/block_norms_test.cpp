// Norms chosen by name inside blocks: fused sums, norms over channels, causality, modes.
#include <doctest/doctest.h>

#include "autograd/normalization.h"
#include "nn/block.h"
#include "nn/norm/layer_norm.h"
#include "nn/norm/norm.h"
#include "nn/norm/rms_norm.h"
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

BlockOptions small_block(std::string_view norm = "layer") {
  return {.attention = {.embed_dim = 8, .num_heads = 2, .causal = true, .rotary = true}, .norm = norm};
}

}  // namespace

TEST_SUITE_BEGIN("norms of blocks");

TEST_CASE("add_then is the sum and the layer of the sum, by a kernel or not") {
  const Tensor a = normal({2, 3, 8}), b = normal({2, 3, 8}, 2);
  for (const NormInfo& info : norm_methods()) {
    if (!info.per_token) continue;
    CAPTURE(std::string(info.name));
    AnyLayer norm = make_norm(info.name, 8);
    norm.to(f64);
    randomize(norm, 4);
    const auto [sum, normed] = norm.add_then(a, b);
    CHECK(difference(sum, a + b) == 0);
    CHECK(difference(normed, norm(a + b)) < 1e-14);
  }
  for (AnyLayer norm : {AnyLayer(LayerNorm({.normalized_shape = {3, 8}})),
                        AnyLayer(LayerNorm({.normalized_shape = {8}, .detach_std = true})),
                        AnyLayer(RMSNorm({.normalized_shape = {3, 8}, .partial = 0.3})),
                        AnyLayer(RMSNorm({.normalized_shape = {3, 8}, .eps_mode = RmsEps::inside}))}) {
    norm.to(f64);
    CHECK(difference(norm.add_then(a, b).second, norm(a + b)) < 1e-14);
  }
  CHECK_THROWS_MESSAGE_HAS(AnyLayer().add_then(a, b), "holds no layer");
}

TEST_CASE("methods that mix positions are refused in causal blocks with the reason, and allowed by a flag") {
  const Tensor x = normal({2, 6, 8});
  const Tensor changed = x.clone();
  changed.narrow(1, 4, 2).fill_(0.7);
  for (const NormInfo& info : norm_methods()) {
    CAPTURE(std::string(info.name));
    BlockOptions options = small_block(info.name);
    if (!info.per_token) {
      CHECK_THROWS_MESSAGE_HAS(PreNormBlock(options), "takes its statistics over positions");
      CHECK_THROWS_MESSAGE_HAS(PreNormBlock(options), "set allow_acausal");
    }
    options.allow_acausal = true;
    PreNormBlock block(options);
    block.to(f64);
    randomize(block, 3);
    const Tensor y = block(x), z = block(changed);  // in training mode
    const bool reaches_back = difference(y.narrow(1, 0, 4), z.narrow(1, 0, 4)) > 1e-9;
    CHECK(reaches_back == !info.per_token);
    BlockOptions inside = small_block();
    inside.attention.norms.q = info.name;
    if (!info.per_token) CHECK_THROWS_MESSAGE_HAS(PreNormBlock(inside), "norms.allow_acausal");
    BlockOptions both_ways = small_block(info.name);
    both_ways.attention.causal = false;
    CHECK(PreNormBlock(both_ways)(x.to(f32)).shape() == x.shape());
  }
}

TEST_CASE("R46 eval() and train() reach a norm over channels that was chosen by name, once for each call") {
  for (const char* method : {"batch", "renorm"}) {
    BlockOptions options = small_block(method);
    options.allow_acausal = true;
    PreNormBlock block(options);
    block.to(f64);
    static_cast<void>(block(normal({2, 6, 8})));
    const auto count = [&] {
      for (const auto& [name, buffer] : block.named_buffers()) {
        if (name == "norm1.num_batches_tracked") return buffer.item();
      }
      return -1.0;
    };
    CHECK(count() == 1);
    block.eval();
    const Tensor both = block(normal({2, 6, 8})), one = block(normal({2, 6, 8}).narrow(0, 0, 1));
    CHECK(difference(both.narrow(0, 0, 1), one) < 1e-14);  // statistics of the batch would differ
    CHECK(count() == 1);
    block.train();
    static_cast<void>(block(normal({2, 6, 8})));
    CHECK(count() == 2);
  }
}

TEST_CASE("norms over channels read the last axis as channels") {
  const Tensor x = normal({2, 6, 8});
  const auto in_f64 = [](const char* name) {
    AnyLayer norm = make_norm(name, 8, 0.1);
    norm.to(f64);
    randomize(norm, 3);
    return norm;
  };
  AnyLayer batch = in_f64("batch"), instance = in_f64("instance"), group = in_f64("group");
  const auto parameter = [](AnyLayer& norm, std::size_t i) { return norm.parameters()[i]; };
  const Tensor rows = x.reshape({12, 8});
  CHECK(difference(batch(x),
                   batch_norm(rows, parameter(batch, 0), parameter(batch, 1), 0.1).reshape({2, 6, 8})) <
        1e-12);
  CHECK(difference(batch(rows), batch(x).reshape({12, 8})) < 1e-12);
  CHECK(difference(instance(x),
                   instance_norm(x.transpose(1, 2), parameter(instance, 0), parameter(instance, 1), 0.1)
                       .transpose(1, 2)) < 1e-12);
  CHECK(difference(group(x),
                   group_norm(rows, 4, parameter(group, 0), parameter(group, 1), 0.1).reshape({2, 6, 8})) <
        1e-12);
  CHECK(make_norm("batch", 8).named_buffers()[0].first == "running_mean");
  CHECK_THROWS_MESSAGE_HAS(instance(normal({8})), "x must be [.., length, channels], got [8]");
}

TEST_SUITE_END();
