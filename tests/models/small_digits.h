// Digits for the tests of models: few, small, and easy to tell apart.
#pragma once

#include <fstream>
#include <string>

#include "models/data/digits.h"
#include "models/mnist_settings.h"
#include "tests/temporary.h"

namespace norma::tests {

constexpr std::int64_t small_digits = 60, small_size = 28;

// Digit d is a bright column at 2 d + 3, with some noise beside it.
inline unsigned char pixel(std::int64_t image, std::int64_t row, std::int64_t column) {
  const std::int64_t digit = image % 10;
  if (column / 2 == digit + 1) return static_cast<unsigned char>(200 + (image + row) % 50);
  return static_cast<unsigned char>((image * 7 + row * 3 + column * 5) % 11 == 0 ? 60 : 0);
}

/// MNIST's files under the names of its test part.
inline void write_digits(const TemporaryFolder& folder) {
  std::ofstream images(folder.path("t10k-images-idx3-ubyte"), std::ios::binary);
  const char size = static_cast<char>(small_size), count = static_cast<char>(small_digits);
  images << std::string{0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, size, 0, 0, 0, size};
  std::ofstream labels(folder.path("t10k-labels-idx1-ubyte"), std::ios::binary);
  labels << std::string{0, 0, 8, 1, 0, 0, 0, count};
  for (std::int64_t image = 0; image < small_digits; ++image) {
    labels.put(static_cast<char>(image % 10));
    for (std::int64_t row = 0; row < small_size; ++row) {
      for (std::int64_t column = 0; column < small_size; ++column)
        images.put(static_cast<char>(pixel(image, row, column)));
    }
  }
}

/// A run that takes well under a second; its files lie in the folder.
inline models::MnistSettings quick_mnist(const TemporaryFolder& folder) {
  write_digits(folder);
  models::MnistSettings settings;
  settings.data = folder.path("");
  settings.train = 50;
  settings.layers = 2;
  settings.width = 12;
  settings.channels = 4;
  settings.batch = 8;
  settings.steps = 10;
  settings.eval_every = 5;
  settings.log = folder.path("log.csv");
  settings.checkpoint = folder.path("mnist.safetensors");
  return settings;
}

}  // namespace norma::tests
