// IDX files, plain and packed, and the data set made of them.
#include "models/data/digits.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <set>

#include "core/allocator.h"
#include "core/file.h"
#include "core/random.h"
#include "models/data/gzip.h"
#include "models/data/idx.h"
#include "tests/messages.h"
#include "tests/temporary.h"

using namespace norma;
using namespace norma::models;
using namespace norma::tests;

namespace {

// The fixtures: images.idx and labels.idx hold the bytes below, images.gz and labels.gz are `gzip -9n` of
// them.
std::string fixture(const std::string& name) { return read_file(NORMA_SOURCE_DIR "/tests/fixtures/" + name); }

std::string idx(const std::vector<std::uint32_t>& extents, const std::string& values, int type = 8) {
  std::string text{0, 0, static_cast<char>(type), static_cast<char>(extents.size())};
  for (const std::uint32_t extent : extents) {
    for (const int shift : {24, 16, 8, 0}) text.push_back(static_cast<char>(extent >> shift));
  }
  return text + values;
}

std::string image_bytes() {
  std::string values;
  for (int i = 0; i < 24; ++i) values.push_back(static_cast<char>(i * 11));
  return idx({3, 2, 4}, values);
}

std::string label_bytes() { return idx({3}, {7, 0, 9}); }

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

Digits some_digits(std::int64_t n, std::int64_t train) {
  std::vector<std::int64_t> labels(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i % 10);
  std::vector<float> pixels(static_cast<std::size_t>(4 * n));
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<float>(i) / static_cast<float>(pixels.size());
  return {Array::from(pixels, {n, 2, 2}), Array::from(labels, {n}), train};
}

}  // namespace

TEST_SUITE_BEGIN("digits");

TEST_CASE("IDX: values, plain and packed") {
  CHECK(fixture("images.idx") == image_bytes());
  CHECK(fixture("labels.idx") == label_bytes());
  for (const char* name : {"images.idx", "images.gz"}) {
    const Array images = parse_idx_images(fixture(name), name);
    CHECK(images.shape() == Shape{3, 2, 4});
    CHECK(images.dtype() == f32);
    for (int i = 0; i < 24; ++i) CHECK(images.data<float>()[i] == static_cast<float>(i * 11 % 256) / 255.0F);
  }
  for (const char* name : {"labels.idx", "labels.gz"}) {
    CHECK(parse_idx_labels(fixture(name), name).to_vector<std::int64_t>() ==
          std::vector<std::int64_t>{7, 0, 9});
  }
  CHECK(parse_idx_images(idx({0, 28, 28}, ""), "none").shape() == Shape{0, 28, 28});
  CHECK(parse_idx_labels(idx({1}, "\xff"), "high").at({0}) == 255);
}

TEST_CASE("a gzip file may have several members, and its length need not be known") {
  const std::string packed = fixture("labels.gz") + fixture("labels.gz");
  Unpacked twice(packed, "twice");
  CHECK(twice.read(4) == label_bytes().substr(0, 4));
  CHECK(twice.read(1000000) == label_bytes().substr(4) + label_bytes());
  CHECK(twice.read(1).empty());
  const std::string text = "plain";
  Unpacked plain(text, "plain");
  CHECK(plain.read(3) == "pla");
  CHECK(plain.read(9) == "in");
  CHECK(plain.read(9).empty());
}

TEST_CASE("R124 IDX files that are wrong are refused by name, and say why") {
  struct Case {
    std::string bytes, message;
  };
  const std::string values(24, '\1'), packed = fixture("images.gz");
  std::string other_crc = packed;
  other_crc[packed.size() - 8] = static_cast<char>(other_crc[packed.size() - 8] ^ 1);
  for (const Case& wrong : {
           Case{"", "no IDX file"},
           Case{"PK\3\4 is a zip file", "no IDX file"},
           Case{std::string("\0\1\x08\3", 4) + values, "no IDX file"},
           Case{idx({3, 2, 4}, values, 13), "IDX type 13"},
           Case{idx({24}, values), "rank 1, expected 3 (images)"},
           Case{idx({3, 2, 2, 2}, values), "rank 4, expected 3"},
           Case{idx({3, 2, 4}, values.substr(1)), "holds 23 values, its extents [3, 2, 4] ask for 24"},
           Case{idx({3, 2, 4}, values + "x"), "more bytes follow the 24 values"},
           Case{idx({3, 2, 4}, "").substr(0, 15), "ends within its header"},
           Case{idx({4294967295, 28, 28}, values), "holds 24 values"},
           Case{idx({4294967295, 4294967295, 1}, values), "impossibly large"},
           Case{idx({4294967295, 4294967295, 0}, values), "impossibly large"},
           Case{other_crc, "damaged gzip data: incorrect data check"},
           Case{packed + "more", "4 bytes follow the gzip data"},
           Case{std::string("\x1f\x8b\7") + packed.substr(3), "damaged gzip data"},
       }) {
    CAPTURE(wrong.message);
    const std::string message = message_of([&] { parse_idx_images(wrong.bytes, "some/file"); });
    CAPTURE(message);
    CHECK(message.starts_with("some/file: "));
    CHECK(message.find(wrong.message) != std::string::npos);
  }
  CHECK_THROWS_MESSAGE_HAS(parse_idx_labels(image_bytes(), "x"),
                           "x: the IDX file has rank 3, expected 1 (labels)");
  CHECK_THROWS_MESSAGE_HAS(read_idx_images("/nowhere/images"), "/nowhere/images");
}

TEST_CASE("R113 R124 IDX files cut at every length throw, plain and packed") {
  for (const char* name : {"images.idx", "images.gz"}) {
    const std::string whole = fixture(name);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      CAPTURE(length);
      CHECK_THROWS_AS(parse_idx_images(std::string_view(whole).substr(0, length), name), Error);
    }
  }
}

TEST_CASE("R124 a header alone makes nothing be allocated") {
  const std::int64_t before = memory_stats(cpu).peak_bytes;
  CHECK_THROWS_AS(parse_idx_images(idx({1000000, 1000, 1000}, "abc"), "huge"), Error);
  CHECK(memory_stats(cpu).peak_bytes == before);
}

TEST_CASE("shuffled epochs: every index once, orders that differ, any place at once") {
  ShuffledEpochs epochs(20, 7);
  const auto all = epochs.indices(0, 60);
  std::vector<std::vector<std::int64_t>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    orders.emplace_back(all.begin() + 20 * epoch, all.begin() + 20 * (epoch + 1));
    CHECK(std::set<std::int64_t>(orders.back().begin(), orders.back().end()).size() == 20);
    CHECK(*std::min_element(orders.back().begin(), orders.back().end()) == 0);
    CHECK(*std::max_element(orders.back().begin(), orders.back().end()) == 19);
    CHECK_FALSE(std::is_sorted(orders.back().begin(), orders.back().end()));
  }
  CHECK(std::set(orders.begin(), orders.end()).size() == 3);
  CHECK(ShuffledEpochs(20, 7).indices(33, 17) == std::vector(all.begin() + 33, all.begin() + 50));
  CHECK(ShuffledEpochs(20, 8).indices(0, 20) != orders[0]);
  CHECK(ShuffledEpochs(1, 7).indices(5, 3) == std::vector<std::int64_t>{0, 0, 0});
  CHECK_THROWS_MESSAGE_HAS(ShuffledEpochs(0, 1), "at least one");
  CHECK_THROWS_MESSAGE_HAS(epochs.indices(-1, 1), "must be >= 0");
}

TEST_CASE("digits: a fixed split, batches by index") {
  const Digits digits = some_digits(12, 9);
  CHECK((digits.train_size() == 9 && digits.test_size() == 3 && digits.rows() == 2 && digits.columns() == 2));
  const ImageBatch batch = digits.train_batch({8, 0, 8});
  CHECK(batch.images.shape() == Shape{3, 2, 2});
  CHECK(batch.labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{8, 0, 8});
  CHECK(batch.images.at({0, 1, 1}) == doctest::Approx(35.0 / 48));
  CHECK(batch.images.at({1, 0, 1}) == doctest::Approx(1.0 / 48));
  CHECK(digits.test_batch(0, 2).labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{9, 0});
  CHECK(digits.test_batch(2, 100).labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{1});
  CHECK_THROWS_MESSAGE_HAS(digits.train_batch({9}), "image 9 is not in [0, 9), the training part");
  CHECK_THROWS_MESSAGE_HAS(digits.test_batch(3, 1), "image 3 is not in [0, 3), the test part");
}

TEST_CASE("digits: binary images are 0 and 1, and belong to the data set alone") {
  const Array images = Array::from(std::vector<float>{0, 0.5F, 0.51F, 1}, {2, 1, 2});
  Digits digits(images, Array::from(std::vector<std::int64_t>{1, 2}, {2}), 1);
  digits.make_binary();
  CHECK(digits.train_batch({0}).images.to_vector<float>() == std::vector<float>{0, 0});
  CHECK(digits.test_batch(0, 1).images.to_vector<float>() == std::vector<float>{1, 1});
  CHECK(images.at({1, 0, 0}) == doctest::Approx(0.51));
}

TEST_CASE("digits: what makes no data set is refused") {
  CHECK_THROWS_MESSAGE_HAS(some_digits(5, 5), "of 5 images, 5 cannot be trained on");
  CHECK_THROWS_MESSAGE_HAS(some_digits(5, 0), "of 5 images, 0 cannot be trained on");
  const auto labels = [](std::int64_t n, std::int64_t value) {
    return Array::full({n}, static_cast<double>(value), i64);
  };
  CHECK_THROWS_MESSAGE_HAS(Digits(Array::zeros({3, 2, 2}), labels(2, 0), 1), "3 images have 2 labels");
  CHECK_THROWS_MESSAGE_HAS(Digits(Array::zeros({3, 2, 2}), labels(3, 10), 1), "label 0 is 10, no digit");
  CHECK_THROWS_MESSAGE_HAS(Digits(Array::zeros({3, 4}), labels(3, 0), 1),
                           "images must be f32 [n, rows, columns]");
  CHECK_THROWS_MESSAGE_HAS(Digits(Array::zeros({3, 0, 4}), labels(3, 0), 1), "0 x 4 pixels are empty");
  CHECK_THROWS_MESSAGE_HAS(Digits(Array::zeros({3, 2, 2}), Array::zeros({3}), 1), "labels must be i64 [n]");
}

TEST_CASE("digits: a folder with MNIST's files, packed or not, one pair or both") {
  TemporaryFolder folder;
  const auto load = [&](std::int64_t train = 0) { return Digits::load(folder.path(""), train); };
  CHECK_THROWS_MESSAGE_HAS(load(), "has neither train-images-idx3-ubyte nor t10k-images-idx3-ubyte");
  write_file(folder.path("t10k-images-idx3-ubyte.gz"), fixture("images.gz"));
  CHECK_THROWS_MESSAGE_HAS(load(), "t10k-images-idx3-ubyte.gz, but not its labels");
  write_file(folder.path("t10k-labels-idx1-ubyte"), label_bytes());
  CHECK(load().train_size() == 2);  // nine in ten of three
  CHECK(load(1).test_batch(0, 9).labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 9});
  CHECK_THROWS_MESSAGE_HAS(load(3), "of 3 images, 3 cannot be trained on");
  write_file(folder.path("train-images-idx3-ubyte"), idx({2, 2, 4}, std::string(16, '\5')));
  write_file(folder.path("train-labels-idx1-ubyte"), idx({3}, {1, 2, 3}));
  CHECK_THROWS_MESSAGE_HAS(load(), "train-labels-idx1-ubyte has 3 labels");
  write_file(folder.path("train-labels-idx1-ubyte"), idx({2}, {1, 2}));
  const Digits both = load();
  CHECK((both.train_size() == 2 && both.test_size() == 3));
  CHECK(both.test_batch(0, 3).labels.to_vector<std::int64_t>() == std::vector<std::int64_t>{7, 0, 9});
  write_file(folder.path("train-images-idx3-ubyte"), idx({2, 4, 2}, std::string(16, '\5')));
  CHECK_THROWS_MESSAGE_HAS(load(), "another size");
}

TEST_SUITE_END();
