// Norms over channels for tensors whose channels are the last axis, as in Transformers.
#pragma once

#include "nn/any_layer.h"

namespace norma::nn {

/// What a norm over channels sees of x [.., length, channels].
enum class Rows : std::uint8_t {
  all,         // one batch of rows, [.. * length, channels]: statistics over all positions of all sequences
  by_sequence  // one sample for each sequence, [.., channels, length]: statistics over its own positions
};

/// x [.., length, channels] (with Rows::all also [.., channels]) -> the same shape, by a norm that wants its
/// channels at axis 1. Names and modes are those of the norm.
class ChannelsLast : public Module {
 public:
  ChannelsLast(AnyLayer norm, Rows rows) : norm(std::move(norm)), rows_(rows) {}
  Tensor operator()(const Tensor& x);
  Module& held() override { return norm.held(); }

  AnyLayer norm;
  void visit_parts(PartVisitor& visitor) override { norm.visit_parts(visitor); }
  std::size_t object_size() const override { return sizeof(*this); }

 private:
  Rows rows_;
};

}  // namespace norma::nn
