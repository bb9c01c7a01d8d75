#include "models/data/digits.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/random.h"
#include "models/data/idx.h"

namespace norma::models {
namespace {

// The file of this name in the folder, plain or packed; "" when there is none.
std::string find_file(const std::string& folder, const std::string& name) {
  for (const char* ending : {"", ".gz"}) {
    const std::string path = (std::filesystem::path(folder) / (name + ending)).string();
    if (std::filesystem::exists(path)) return path;
  }
  return "";
}

Array join(const Array& a, const Array& b) {
  if (!a.defined()) return b;
  Array all = Array::empty(a.shape().with(0, a.shape()[0] + b.shape()[0]), a.dtype());
  all.slice(0, {.stop = a.shape()[0]}).copy_from(a);
  all.slice(0, {.start = a.shape()[0]}).copy_from(b);
  return all;
}

}  // namespace

ShuffledEpochs::ShuffledEpochs(std::int64_t n, std::uint64_t seed) : n_(n), seed_(seed) {
  NORMA_CHECK(n > 0, "shuffled epochs: needs at least one index, got ", n);
}

std::vector<std::int64_t> ShuffledEpochs::indices(std::int64_t first, std::int64_t count) {
  NORMA_CHECK(first >= 0 && count >= 0, "shuffled epochs: place and count must be >= 0, got ", first, " and ",
              count);
  std::vector<std::int64_t> chosen;
  chosen.reserve(static_cast<std::size_t>(count));
  for (std::int64_t place = first; place < first + count; ++place) {
    if (place / n_ != epoch_) {
      epoch_ = place / n_;
      order_.resize(static_cast<std::size_t>(n_));
      for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::int64_t>(i);
      // Each epoch has a stretch of the stream of its own.
      Generator generator(seed_);
      generator.set_state({seed_, static_cast<std::uint64_t>(epoch_) * static_cast<std::uint64_t>(n_)});
      for (std::size_t i = order_.size() - 1; i > 0; --i) {
        std::swap(order_[i],
                  order_[static_cast<std::size_t>(generator.below(static_cast<std::int64_t>(i) + 1))]);
      }
    }
    chosen.push_back(order_[static_cast<std::size_t>(place % n_)]);
  }
  return chosen;
}

Digits::Digits(Array images, Array labels, std::int64_t train)
    : images_(std::move(images)), labels_(std::move(labels)), train_(train) {
  check_defined(images_, "digits");
  check_defined(labels_, "digits");
  NORMA_CHECK(images_.rank() == 3 && images_.dtype() == f32,
              "digits: images must be f32 [n, rows, columns], got ", images_.dtype(), " ", images_.shape());
  NORMA_CHECK(labels_.rank() == 1 && labels_.dtype() == i64, "digits: labels must be i64 [n], got ",
              labels_.dtype(), " ", labels_.shape());
  const std::int64_t n = images_.shape()[0];
  NORMA_CHECK(labels_.shape()[0] == n, "digits: ", n, " images have ", labels_.shape()[0], " labels");
  NORMA_CHECK(images_.numel() > 0 || n == 0, "digits: images of ", rows(), " x ", columns(),
              " pixels are empty");
  NORMA_CHECK(train > 0 && train < n, "digits: of ", n, " images, ", train,
              " cannot be trained on: both parts need at least one");
  images_ = images_.contiguous();
  labels_ = labels_.contiguous();
  const auto* label = labels_.data<std::int64_t>();
  for (std::int64_t i = 0; i < n; ++i) {
    NORMA_CHECK(label[i] >= 0 && label[i] < classes, "digits: label ", i, " is ", label[i], ", no digit");
  }
}

Digits Digits::load(const std::string& folder, std::int64_t train) {
  Array images, labels;
  std::int64_t first_pair = 0;
  int pairs = 0;
  for (const std::string& part : {std::string("train"), std::string("t10k")}) {
    const std::string image_file = find_file(folder, part + "-images-idx3-ubyte");
    const std::string label_file = find_file(folder, part + "-labels-idx1-ubyte");
    NORMA_CHECK(image_file.empty() == label_file.empty(), folder, ": has ",
                image_file.empty() ? label_file : image_file, ", but not its ",
                image_file.empty() ? "images" : "labels");
    if (image_file.empty()) continue;
    const Array more_images = read_idx_images(image_file);
    const Array more_labels = read_idx_labels(label_file);
    NORMA_CHECK(more_images.shape()[0] == more_labels.shape()[0], image_file, ": has ",
                more_images.shape()[0], " images, ", label_file, " has ", more_labels.shape()[0], " labels");
    NORMA_CHECK(pairs == 0 || more_images.shape().removed(0) == images.shape().removed(0), image_file,
                ": its images have another size than those of the other file");
    images = join(images, more_images);
    labels = join(labels, more_labels);
    if (++pairs == 1) first_pair = images.shape()[0];
  }
  NORMA_CHECK(pairs > 0, folder.empty() ? std::string("digits: the folder") : folder,
              ": has neither train-images-idx3-ubyte nor t10k-images-idx3-ubyte (plain or .gz)");
  if (train == 0) train = pairs == 2 ? first_pair : first_pair * 9 / 10;
  try {
    return Digits(images, labels, train);
  } catch (const Error& error) {
    throw Error(folder + ": " + error.what());
  }
}

ImageBatch Digits::train_batch(const std::vector<std::int64_t>& indices) const {
  const auto count = static_cast<std::int64_t>(indices.size());
  ImageBatch batch{Array::empty({count, rows(), columns()}, f32), Array::empty({count}, i64)};
  const std::int64_t pixels = rows() * columns();
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t index = indices[static_cast<std::size_t>(i)];
    NORMA_CHECK(index >= 0 && index < train_, "digits: image ", index, " is not in [0, ", train_,
                "), the training part");
    std::copy_n(images_.data<float>() + index * pixels, pixels, batch.images.data<float>() + i * pixels);
    batch.labels.data<std::int64_t>()[i] = labels_.data<std::int64_t>()[index];
  }
  return batch;
}

ImageBatch Digits::test_batch(std::int64_t first, std::int64_t count) const {
  NORMA_CHECK(first >= 0 && first < test_size() && count > 0, "digits: image ", first, " is not in [0, ",
              test_size(), "), the test part");
  const Slice range{train_ + first, train_ + std::min(first + count, test_size())};
  return {images_.slice(0, range), labels_.slice(0, range)};
}

void Digits::make_binary() {
  images_ = images_.clone();  // the caller may hold them too
  auto* const pixels = images_.data<float>();
  std::transform(pixels, pixels + images_.numel(), pixels,
                 [](float value) { return value > 0.5F ? 1.0F : 0.0F; });
}

}  // namespace norma::models
