// Layout of a file: u64 little-endian header length n, n bytes of JSON beginning with '{', tensor data.
#include "nn/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <unordered_set>

#include "core/file.h"
#include "core/parallel.h"
#include "nn/safetensors_header.h"

namespace norma::nn {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor bytes are little-endian");

constexpr std::uint64_t header_cap = 100'000'000;  // the cap of the reference reader

// dtype is the array's; F16 and BF16 are widened to it.
struct FileType {
  const char* name;
  std::int64_t bytes;
  DType dtype;
};
constexpr FileType file_types[] = {{"F32", 4, f32},      {"F64", 8, f64}, {"I64", 8, i64},
                                   {"BOOL", 1, boolean}, {"F16", 2, f32}, {"BF16", 2, f32}};

const char* file_name_of(DType dtype) {
  return std::find_if(std::begin(file_types), std::end(file_types),
                      [&](const FileType& type) { return type.dtype == dtype; })
      ->name;
}

using Entry = detail::SafetensorsEntry;

// Where the bytes of a file come from: read(begin, out, n) writes bytes [begin, begin + n) to out.
struct Source {
  std::int64_t size;
  std::function<void(std::int64_t, void*, std::int64_t)> read;
};

std::string header_of(const Source& source, const std::string& file) {
  NORMA_CHECK(source.size >= 8, file, ": a safetensors file has at least 8 bytes, this one has ",
              source.size);
  std::uint64_t length = 0;
  source.read(0, &length, 8);
  NORMA_CHECK(length <= header_cap, file, ": the header claims ", std::to_string(length),
              " bytes; the format allows ", header_cap);
  const auto follow = static_cast<std::uint64_t>(source.size - 8);
  NORMA_CHECK(length <= follow, file, ": the header claims ", length, " bytes, but only ", follow, " follow");
  std::string header(length, '\0');
  source.read(8, header.data(), static_cast<std::int64_t>(length));
  NORMA_CHECK(header.starts_with('{'), file, ": the header does not begin with '{'");
  // The JSON parser takes a NUL for the end of its input.
  NORMA_CHECK(header.find('\0') == std::string_view::npos, file, ": the header holds a NUL byte");
  return header;
}

// An entry whose parts are known to be there and to fit together.
struct Span {
  const Entry* entry;
  const FileType* type;
  Shape shape;
  std::int64_t begin, end;
};

Span checked_span(const Entry& entry, std::int64_t data_bytes, const std::string& file) {
  const std::string who = file + ": tensor \"" + entry.name + "\": ";
  NORMA_CHECK(entry.dtype && entry.shape && entry.offsets, who, "dtype, shape and data_offsets are needed");
  const auto* type = std::find_if(std::begin(file_types), std::end(file_types),
                                  [&](const FileType& candidate) { return candidate.name == *entry.dtype; });
  NORMA_CHECK(type != std::end(file_types), who, "dtype \"", *entry.dtype,
              "\" is not one of F32, F64, I64, BOOL, F16, BF16");
  NORMA_CHECK(entry.offsets->size() == 2, who, "data_offsets must hold 2 numbers, not ",
              entry.offsets->size());
  const std::int64_t begin = (*entry.offsets)[0], end = (*entry.offsets)[1];
  NORMA_CHECK(begin <= end, who, "data_offsets end before they begin: [", begin, ", ", end, "]");
  NORMA_CHECK(end <= data_bytes, who, "data_offsets [", begin, ", ", end, "] reach beyond the ", data_bytes,
              " bytes of data");
  Shape shape;
  try {
    shape = Shape(std::span<const std::int64_t>(*entry.shape));
  } catch (const Error& error) {
    norma::detail::fail(who, error.what());
  }
  std::int64_t bytes = 0;
  NORMA_CHECK(!__builtin_mul_overflow(shape.numel(), type->bytes, &bytes), who, "the size of shape ", shape,
              " overflows");
  NORMA_CHECK(bytes == end - begin, who, "shape ", shape, " of ", *entry.dtype, " takes ", bytes,
              " bytes, data_offsets span ", end - begin);
  return {&entry, type, shape, begin, end};
}

void check_cover(std::vector<Span> spans, std::int64_t data_bytes, const std::string& file) {
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::int64_t covered = 0;
  for (const Span& span : spans) {
    NORMA_CHECK(span.begin == covered, file, ": tensor \"", span.entry->name, "\": data_offsets begin at ",
                span.begin, ", the tensors before end at ", covered,
                span.begin < covered ? " (overlap)" : " (hole)");
    covered = span.end;
  }
  NORMA_CHECK(covered == data_bytes, file, ": the tensors cover ", covered, " of ", data_bytes,
              " bytes of data");
}

float widen_half(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
  const std::uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide_exponent = exponent == 0x1f ? 0xff : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

float widen_bfloat(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

template <class Widen>
void widen_all(float* out, std::span<const std::uint16_t> values, Widen widen) {
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = widen(values[i]);
}

// Some of the bytes of a tensor, [begin, end) from the start of its data.
struct Piece {
  const Span* span;
  Array to;
  std::int64_t begin, end;
};

constexpr std::int64_t piece_bytes = 1 << 20;

void read_piece(const Piece& piece, const Source& source, std::int64_t data, const std::string& file) {
  const auto& [span, to, begin, end] = piece;
  const std::int64_t place = data + span->begin + begin, bytes = end - begin;
  const std::string_view type = span->type->name;
  if (type == "F16" || type == "BF16") {
    std::vector<std::uint16_t> narrow(static_cast<std::size_t>(bytes / 2));
    source.read(place, narrow.data(), bytes);
    float* const out = to.data<float>() + begin / 2;
    return type == "F16" ? widen_all(out, narrow, widen_half) : widen_all(out, narrow, widen_bfloat);
  }
  char* const out = static_cast<char*>(to.view().data) + begin;
  source.read(place, out, bytes);
  if (span->type->dtype != boolean) return;
  const auto* const bad = std::find_if(out, out + bytes, [](char byte) { return byte != 0 && byte != 1; });
  NORMA_CHECK(bad == out + bytes, file, ": tensor \"", span->entry->name, "\": byte ", begin + (bad - out),
              " of a BOOL tensor is neither 0 nor 1");
}

// Straight into the memory of the tensors, by all threads where there is much to read.
StateDict read_tensors(const std::vector<Span>& spans, const Source& source, std::int64_t data,
                       const std::string& file) {
  StateDict tensors;
  std::vector<Piece> pieces;
  for (const Span& span : spans) {
    const Array array = Array::empty(span.shape, span.type->dtype);
    tensors.emplace_back(span.entry->name, Tensor(array));
    const std::int64_t bytes = span.end - span.begin;
    for (std::int64_t begin = 0; begin < bytes; begin += piece_bytes)
      pieces.push_back({&span, array, begin, std::min(bytes, begin + piece_bytes)});
  }
  const auto count = static_cast<std::int64_t>(pieces.size());
  const bool is_little = source.size <= 2 * piece_bytes;
  parallel_for(count, is_little ? std::max<std::int64_t>(1, count) : 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i)
                   read_piece(pieces[static_cast<std::size_t>(i)], source, data, file);
               });
  return tensors;
}

// All but the tensors' bytes: `data` is where they begin, and the spans, which point into the header, cover
// them.
struct Outline {
  detail::SafetensorsHeader header;
  std::int64_t data;
  std::vector<Span> spans;
};

Outline outline_of(const Source& source, const std::string& name) {
  const std::string header = header_of(source, name);
  const std::int64_t data = 8 + static_cast<std::int64_t>(header.size()), data_bytes = source.size - data;
  Outline outline{detail::parse_safetensors_header(header, name), data, {}};
  for (const Entry& entry : outline.header.entries)
    outline.spans.push_back(checked_span(entry, data_bytes, name));
  check_cover(outline.spans, data_bytes, name);
  return outline;
}

SafetensorsFile parse(const Source& source, const std::string& name) {
  Outline outline = outline_of(source, name);
  StateDict tensors = read_tensors(outline.spans, source, outline.data, name);
  return {std::move(tensors), std::move(outline.header.metadata)};
}

Source source_of(const InputFile& file) {
  return {file.size(),
          [&](std::int64_t begin, void* out, std::int64_t count) { file.read(begin, out, count); }};
}

std::string quoted(const std::string& text, const std::string& file) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    norma::detail::fail(file, ": a name or a text is not UTF-8");
  }
}

std::int64_t byte_count(const Array& x) { return x.numel() * size_of(x.dtype()); }

template <class Pairs>
void check_names(const Pairs& pairs, const std::string& file) {
  std::unordered_set<std::string_view> names;
  for (const auto& [name, value] : pairs) {
    NORMA_CHECK(names.insert(name).second, file, ": the name \"", name, "\" occurs twice");
  }
}

std::string make_header(const StateDict& tensors, const std::vector<std::int64_t>& begins,
                        const Metadata& metadata, const std::string& file) {
  std::string out = "{";
  const auto separate = [&] {
    if (out.back() != '{') out += ',';
  };
  if (!metadata.empty()) {
    out += "\"__metadata__\":{";
    for (const auto& [name, value] : metadata) {
      separate();
      out += quoted(name, file) + ":" + quoted(value, file);
    }
    out += '}';
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    const std::int64_t end = begins[i] + byte_count(tensor.array());
    separate();
    out += quoted(name, file) + ":{\"dtype\":\"" + file_name_of(tensor.dtype()) +
           "\",\"shape\":" + norma::detail::text(tensor.shape()) + ",\"data_offsets\":[" +
           std::to_string(begins[i]) + "," + std::to_string(end) + "]}";
  }
  out += '}';
  out.append((8 - out.size() % 8) % 8, ' ');
  NORMA_CHECK(out.size() <= header_cap, file, ": the header would take ", out.size(),
              " bytes; the format allows ", header_cap);
  return out;
}

}  // namespace

void save_safetensors(const std::string& path, const StateDict& tensors, const Metadata& metadata) {
  check_names(tensors, path);
  check_names(metadata, path);
  for (const auto& [name, tensor] : tensors) {
    NORMA_CHECK(tensor.defined(), path, ": tensor \"", name, "\" is undefined");
    NORMA_CHECK(name != "__metadata__", path, ": a tensor cannot be called __metadata__");
  }
  std::vector<std::size_t> order(tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return size_of(tensors[a].second.dtype()) > size_of(tensors[b].second.dtype());
  });

  std::vector<Array> hosts;  // in the order of the file
  std::vector<std::int64_t> begins(tensors.size());
  std::int64_t bytes = 0;
  for (const std::size_t i : order) {
    hosts.push_back(tensors[i].second.array().to(cpu).contiguous());
    begins[i] = bytes;
    bytes += byte_count(hosts.back());
  }
  const std::string header = make_header(tensors, begins, metadata, path);
  const std::uint64_t length = header.size();
  AtomicFile file(path);
  file.write(&length, sizeof length);
  file.write(header);
  for (const Array& host : hosts) file.write(host.view().data, byte_count(host));
  file.commit();
}

SafetensorsFile parse_safetensors(std::string_view bytes, const std::string& name) {
  const auto read = [&](std::int64_t begin, void* out, std::int64_t count) {
    if (count > 0) std::memcpy(out, bytes.data() + begin, static_cast<std::size_t>(count));
  };
  return parse({static_cast<std::int64_t>(bytes.size()), read}, name);
}

SafetensorsFile load_safetensors(const std::string& path) {
  const InputFile file(path);
  return parse(source_of(file), path);
}

Metadata detail::read_safetensors_metadata(const std::string& path) {
  const InputFile file(path);
  return outline_of(source_of(file), path).header.metadata;
}

std::vector<std::string> check_finite(const StateDict& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (!is_floating(tensor.dtype())) continue;
    const Array values = tensor.array().to(cpu).to(f64).contiguous();
    const double* first = values.data<double>();
    if (!std::all_of(first, first + values.numel(), [](double x) { return std::isfinite(x); }))
      names.push_back(name);
  }
  return names;
}

const std::string* find(const Metadata& metadata, std::string_view name) {
  const auto found =
      std::find_if(metadata.begin(), metadata.end(), [&](const auto& pair) { return pair.first == name; });
  return found == metadata.end() ? nullptr : &found->second;
}

const Tensor* find(const StateDict& tensors, std::string_view name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& pair) { return pair.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

}  // namespace norma::nn
