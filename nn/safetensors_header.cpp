#include "nn/safetensors_header.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/check.h"

namespace norma::nn::detail {
namespace {

constexpr std::uint64_t number_cap = std::uint64_t{1} << 63;

// Receives the header token by token, so that repeated names are seen and no number is converted before it is
// known to be one.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::vector<SafetensorsEntry> entries;
  std::vector<std::pair<std::string, std::string>> metadata;

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
      const SafetensorsEntry& entry = entries.back();
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

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& file) {
  HeaderReader reader(file);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  return {std::move(reader.entries), std::move(reader.metadata)};
}

}  // namespace norma::nn::detail
