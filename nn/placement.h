// Where the norms of a Transformer stand: for each layer, the residual scheme of its two sublayers and the
// norms inside attention. A named placement is such a choice for every layer; users write their own:
//
//   nn::Placement mine{.name = "mine", .layer = [](std::int64_t layer, std::int64_t) {
//     nn::LayerPlacement p{.attention = nn::Residual::sandwich(), .ffn = nn::Residual::normed()};
//     p.norms.q = p.norms.k = layer == 0 ? "" : "block";
//     return p;
//   }};
#pragma once

#include <cmath>
#include <string_view>
#include <vector>

#include "nn/attention.h"
#include "nn/residual.h"

namespace norma::nn {

/// Methods of the norms inside attention: names of make_norm, "block" for the method of the block, or empty
/// for none.
struct AttentionNorms {
  std::string q = {}, k = {}, v = {}, context = {}, out = {};
};

struct LayerPlacement {
  Residual attention = Residual::pre();
  Residual ffn = Residual::pre();
  AttentionNorms norms = {};
  std::optional<TemperatureOptions> temperature = {};  // instead of 1 / sqrt(d)
  std::optional<double> softcap = {};                  // > 0
};

/// How the weights of a Transformer start; see nn/transformer_init.h.
enum class TransformerInit : std::uint8_t { gpt2, normal, depth_scaled, megatron, xavier, deepnorm };

struct Placement {
  std::string name;
  std::string equation = {};  // for people; X is the input of a layer, Y what is between its sublayers
  std::string source = {};
  /// The placement of layer 0, 1, ... of a model with `layers` of them.
  std::function<LayerPlacement(std::int64_t layer, std::int64_t layers)> layer = {};
  bool final_norm = true;                        // between the last layer and the head
  TransformerInit init = TransformerInit::gpt2;  // that belongs to it
};

enum class FirstBlock : std::uint8_t { note, paper };

struct PlacementOptions {
  double mix_alpha = 0.25;                    // part of the layers that mix makes Post-Norm, in [0, 1]
  double cap = 50;                            // of the placements that cap scores, > 0
  FirstBlock first_block = FirstBlock::note;  // of hybrid*
  TemperatureOptions temperature = {};        // of qk
};

/// The placement of a name. Throws for an unknown name, listing the known ones, and for options outside their
/// ranges.
Placement make_placement(std::string_view name, const PlacementOptions& options = {});

/// All named placements with their default options, in the order of the documentation.
const std::vector<Placement>& placements();

}  // namespace norma::nn
