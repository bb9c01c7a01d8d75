#include "models/data/idx.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/file.h"
#include "models/data/gzip.h"

namespace norma::models {
namespace {

constexpr unsigned unsigned_byte = 0x08;  // the type of MNIST's files; the format has others

struct Contents {
  Shape shape;
  std::string values;  // shape.numel() bytes
};

unsigned byte_at(std::string_view text, std::size_t place) { return static_cast<unsigned char>(text[place]); }

std::int64_t big_endian(std::string_view text, std::size_t place) {
  std::int64_t value = 0;
  for (std::size_t i = place; i < place + 4; ++i) value = value * 256 + byte_at(text, i);
  return value;
}

std::size_t read_rank(Unpacked& file, const std::string& name, std::size_t rank) {
  const std::string magic = file.read(4);
  NORMA_CHECK(magic.size() == 4 && byte_at(magic, 0) == 0 && byte_at(magic, 1) == 0, name,
              ": no IDX file (it must begin with two zero bytes, a type and a rank)");
  NORMA_CHECK(byte_at(magic, 2) == unsigned_byte, name, ": IDX type ", byte_at(magic, 2),
              " cannot be read, only 8 (unsigned bytes)");
  NORMA_CHECK(byte_at(magic, 3) == rank, name, ": the IDX file has rank ", byte_at(magic, 3), ", expected ",
              rank, rank == 1 ? " (labels)" : " (images)");
  return rank;
}

Contents parse(std::string_view bytes, const std::string& name, std::size_t expected_rank) {
  Unpacked file(bytes, name);
  const std::size_t rank = read_rank(file, name, expected_rank);
  const std::string header = file.read(static_cast<std::int64_t>(4 * rank));
  NORMA_CHECK(header.size() == 4 * rank, name, ": the IDX file ends within its header");
  std::vector<std::int64_t> extents;
  std::int64_t count = 1;
  bool fits = true;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    extents.push_back(big_endian(header, 4 * axis));
    fits = fits && !__builtin_mul_overflow(count, extents.back(), &count);
  }
  NORMA_CHECK(fits, name, ": extents ", std::span<const std::int64_t>(extents), " are impossibly large");
  Contents contents{.shape = {}, .values = file.read(count)};
  NORMA_CHECK(static_cast<std::int64_t>(contents.values.size()) == count, name, ": holds ",
              contents.values.size(), " values, its extents ", std::span<const std::int64_t>(extents),
              " ask for ", count);
  NORMA_CHECK(file.read(1).empty(), name, ": more bytes follow the ", count, " values of its extents");
  contents.shape = Shape(std::span<const std::int64_t>(extents));
  return contents;
}

}  // namespace

Array parse_idx_images(std::string_view bytes, const std::string& name) {
  const Contents contents = parse(bytes, name, 3);
  Array images = Array::empty(contents.shape, f32);
  std::transform(contents.values.begin(), contents.values.end(), images.data<float>(),
                 [](char value) { return static_cast<float>(static_cast<unsigned char>(value)) / 255.0F; });
  return images;
}

Array parse_idx_labels(std::string_view bytes, const std::string& name) {
  const Contents contents = parse(bytes, name, 1);
  Array labels = Array::empty(contents.shape, i64);
  std::transform(contents.values.begin(), contents.values.end(), labels.data<std::int64_t>(),
                 [](char value) { return static_cast<std::int64_t>(static_cast<unsigned char>(value)); });
  return labels;
}

Array read_idx_images(const std::string& path) { return parse_idx_images(read_file(path), path); }
Array read_idx_labels(const std::string& path) { return parse_idx_labels(read_file(path), path); }

}  // namespace norma::models
