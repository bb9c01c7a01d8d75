// Handwritten digits (MNIST: LeCun et al. 1998) as a training and a test part.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/array.h"

namespace norma::models {

/// images f32 [n, rows, columns], labels i64 [n]
struct ImageBatch {
  Array images;
  Array labels;
};

/// Every index of [0, n) once an epoch, in an order drawn anew for each. A pure function of seed and place,
/// so that a run resumes from its step number alone.
class ShuffledEpochs {
 public:
  ShuffledEpochs(std::int64_t n, std::uint64_t seed);
  /// Places first, first + 1, ... of the endless sequence of epochs; the epoch of place p is p / n.
  std::vector<std::int64_t> indices(std::int64_t first, std::int64_t count);

 private:
  std::int64_t n_;
  std::uint64_t seed_;
  std::int64_t epoch_ = -1;  // whose order is kept
  std::vector<std::int64_t> order_;
};

class Digits {
 public:
  static constexpr std::int64_t classes = 10;

  /// The first `train` images are to learn from, the others to test. Throws Error when images are not f32
  /// [n, rows, columns] or labels not i64 [n], when a label is no digit, and when either part would be empty.
  Digits(Array images, Array labels, std::int64_t train);
  /// MNIST's files under their own names, with or without ".gz", in a folder: train-images-idx3-ubyte and
  /// train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or one of the two pairs.
  /// `train` images learn; 0: all of the first pair when both are there, else nine in ten. Throws Error
  /// naming the folder or the file.
  static Digits load(const std::string& folder, std::int64_t train = 0);

  std::int64_t train_size() const { return train_; }
  std::int64_t test_size() const { return labels_.shape()[0] - train_; }
  std::int64_t rows() const { return images_.shape()[1]; }
  std::int64_t columns() const { return images_.shape()[2]; }

  /// Training images by index. Throws for an index outside of [0, train_size()).
  ImageBatch train_batch(const std::vector<std::int64_t>& indices) const;
  /// Test images first, first + 1, ..., at most `count`. Throws past the last one.
  ImageBatch test_batch(std::int64_t first, std::int64_t count) const;

  /// Black and white: 1 above one half, 0 elsewhere (the batch-norm paper's inputs).
  void make_binary();

 private:
  Array images_;
  Array labels_;
  std::int64_t train_ = 0;
};

}  // namespace norma::models
