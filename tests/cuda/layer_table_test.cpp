// The layer table on the CUDA backend, against the CPU.
#include <doctest/doctest.h>

#include "tests/cuda/device.h"
#include "tests/nn/layer_table.h"

TEST_SUITE_BEGIN("cuda layer table" * doctest::skip(norma::tests::no_device()));

TEST_CASE("cuda: layers compute what they do on the CPU, in f64 and in f32") {
  norma::tests::check_layers(norma::cuda, norma::cpu);
}

TEST_SUITE_END();
