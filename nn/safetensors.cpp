// Layout of a file: u64 little-endian header length n, n bytes of JSON beginning with '{', tensor data.
#include "nn/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "core/file.h"

namespace norma::nn {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor bytes are little-endian");

constexpr std::uint64_t header_cap = 100'000'000;  // the cap of the reference reader
constexpr std::uint64_t number_cap = std::uint64_t{1} << 63;

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

struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::vector<std::int64_t>> offsets;
};

// Receives the header token by token and accepts exactly
//   {"__metadata__": {string: string, ..}, name: {"dtype": string, "shape": [n, ..], "data_offsets": [n, n]},
//   ..}
// so that repeated names are seen and no number is converted before it is known to be one.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::vector<Entry> entries;
  Metadata metadata;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return unexpected("a number that is no integer below 2^63");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::numbers) return unexpected("a number");
    if (value >= number_cap) return unexpected("a number that is no integer below 2^63");
    numbers_->push_back(static_cast<std::int64_t>(value));
    return true;
  }
  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      metadata.back().second = value;
      return true;
    }
    if (place_ != Place::entry || key_ != "dtype") return unexpected("a string");
    entries.back().dtype = value;
    return true;
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::start:
        place_ = Place::top;
        return true;
      case Place::top:
        place_ = key_ == "__metadata__" ? Place::metadata : Place::entry;
        if (place_ == Place::entry) entries.push_back({key_, {}, {}, {}});
        return true;
      default:
        return unexpected("an object");
    }
  }
  bool key(string_t& name) override {
    key_ = name;
    if (place_ == Place::top) {
      if (!names_.insert(name).second) fail("the name \"", name, "\" occurs twice");
    } else if (place_ == Place::metadata) {
      if (!metadata_names_.insert(name).second) fail("__metadata__ holds \"", name, "\" twice");
      metadata.emplace_back(name, "");
    } else {
      const Entry& entry = entries.back();
      const bool repeated = name == "dtype"          ? entry.dtype.has_value()
                            : name == "shape"        ? entry.shape.has_value()
                            : name == "data_offsets" ? entry.offsets.has_value()
                                                     : unexpected("the key \"" + name + "\"");
      if (repeated) fail("tensor \"", entry.name, "\": \"", name, "\" occurs twice");
    }
    return true;
  }
  bool end_object() override {
    place_ = place_ == Place::top ? Place::end : Place::top;
    return true;
  }
  bool start_array(std::size_t) override {
    if (place_ != Place::entry || (key_ != "shape" && key_ != "data_offsets")) return unexpected("an array");
    auto& numbers = key_ == "shape" ? entries.back().shape : entries.back().offsets;
    numbers_ = &numbers.emplace();
    place_ = Place::numbers;
    return true;
  }
  bool end_array() override {
    place_ = Place::entry;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& error) override {
    fail("the header is not JSON (byte ", position, "): ", error.what());
  }

 private:
  enum class Place { start, top, metadata, entry, numbers, end };

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    norma::detail::fail(file_, ": ", parts...);
  }
  bool unexpected(const std::string& what) const {
    switch (place_) {
      case Place::metadata:
        fail("__metadata__ must map strings to strings; found ", what, " under \"", key_, "\"");
      case Place::entry:
      case Place::numbers:
        fail("tensor \"", entries.back().name, "\": found ", what, " at \"", key_, "\"");
      default:
        fail("the header must map tensor names to objects; found ", what);
    }
  }

  const std::string& file_;
  Place place_ = Place::start;
  std::string key_;
  std::vector<std::int64_t>* numbers_ = nullptr;
  std::unordered_set<std::string> names_, metadata_names_;
};

std::string_view header_of(std::string_view bytes, const std::string& file) {
  NORMA_CHECK(bytes.size() >= 8, file, ": a safetensors file has at least 8 bytes, this one has ",
              bytes.size());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  NORMA_CHECK(length <= header_cap, file, ": the header claims ", std::to_string(length),
              " bytes; the format allows ", header_cap);
  NORMA_CHECK(length <= bytes.size() - 8, file, ": the header claims ", length, " bytes, but only ",
              bytes.size() - 8, " follow");
  const std::string_view header = bytes.substr(8, length);
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
void widen_all(float* out, std::string_view bytes, Widen widen) {
  for (std::size_t i = 0; i < bytes.size() / 2; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + 2 * i, 2);
    out[i] = widen(bits);
  }
}

Tensor read_tensor(const Span& span, std::string_view bytes, const std::string& file) {
  const Array array = Array::empty(span.shape, span.type->dtype);
  if (bytes.empty()) return Tensor(array);
  const std::string_view type = span.type->name;
  if (type == "F16") {
    widen_all(array.data<float>(), bytes, widen_half);
  } else if (type == "BF16") {
    widen_all(array.data<float>(), bytes, widen_bfloat);
  } else {
    if (span.type->dtype == boolean) {
      const auto bad =
          std::find_if(bytes.begin(), bytes.end(), [](char byte) { return byte != 0 && byte != 1; });
      NORMA_CHECK(bad == bytes.end(), file, ": tensor \"", span.entry->name, "\": byte ", bad - bytes.begin(),
                  " of a BOOL tensor is neither 0 nor 1");
    }
    std::memcpy(array.view().data, bytes.data(), bytes.size());
  }
  return Tensor(array);
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
  const std::string_view header = header_of(bytes, name);
  const std::string_view data = bytes.substr(8 + header.size());
  const auto data_bytes = static_cast<std::int64_t>(data.size());
  HeaderReader reader(name);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);

  std::vector<Span> spans;
  for (const Entry& entry : reader.entries) spans.push_back(checked_span(entry, data_bytes, name));
  check_cover(spans, data_bytes, name);

  SafetensorsFile file;
  for (const Span& span : spans) {
    const auto part =
        data.substr(static_cast<std::size_t>(span.begin), static_cast<std::size_t>(span.end - span.begin));
    file.tensors.emplace_back(span.entry->name, read_tensor(span, part, name));
  }
  file.metadata = std::move(reader.metadata);
  return file;
}

SafetensorsFile load_safetensors(const std::string& path) { return parse_safetensors(read_file(path), path); }

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
