// Layout: "\x93NUMPY", major, minor, header length (2 bytes in version 1, 4 in versions 2 and 3), header,
// elements. The header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. Files
// are not trusted.
#include "core/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <vector>

#include "core/file.h"

namespace norma {
namespace {

constexpr std::string_view magic = "\x93NUMPY";

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<Shape> shape;
};

// Reads the dict and nothing else of Python.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Header parse() {
    Header header;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      entry(header, key);
      if (accept(',')) continue;
      expect('}');
      break;
    }
    skip_space();
    NORMA_CHECK(next_ == text_.size(), "unexpected text after the header's dict");
    NORMA_CHECK(header.descr && header.fortran_order && header.shape,
                "the header needs 'descr', 'fortran_order' and 'shape'");
    return header;
  }

 private:
  void entry(Header& header, const std::string& key) {
    if (key == "descr" && !header.descr) {
      skip_space();
      NORMA_CHECK(peek() != '[', "structured dtypes cannot be read");
      header.descr = string();
    } else if (key == "fortran_order" && !header.fortran_order) {
      header.fortran_order = boolean_word();
    } else if (key == "shape" && !header.shape) {
      header.shape = tuple();
    } else {
      NORMA_CHECK(false, "unknown or repeated key '", key, "' in the header");
    }
  }

  char peek() const { return next_ < text_.size() ? text_[next_] : '\0'; }

  void skip_space() {
    while (next_ < text_.size() && (peek() == ' ' || peek() == '\n' || peek() == '\t' || peek() == '\r')) {
      ++next_;
    }
  }

  bool accept(char wanted) {
    skip_space();
    if (peek() != wanted) return false;
    ++next_;
    return true;
  }

  void expect(char wanted) {
    NORMA_CHECK(accept(wanted), "expected '", wanted, "' at place ", next_, " of the header");
  }

  std::string string() {
    skip_space();
    const char quote = peek();
    NORMA_CHECK(quote == '\'' || quote == '"', "expected a string at place ", next_, " of the header");
    const auto end = text_.find(quote, next_ + 1);
    NORMA_CHECK(end != std::string_view::npos, "a string in the header has no end");
    const std::string out(text_.substr(next_ + 1, end - next_ - 1));
    next_ = end + 1;
    return out;
  }

  bool boolean_word() {
    skip_space();
    for (const std::string_view word : {"True", "False"}) {
      if (text_.substr(next_).starts_with(word)) {
        next_ += word.size();
        return word == "True";
      }
    }
    detail::fail("'fortran_order' must be True or False");
  }

  std::int64_t extent() {
    skip_space();
    std::int64_t value = 0;
    const char* const begin = text_.data() + next_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    NORMA_CHECK(error != std::errc::result_out_of_range, "an extent of the shape does not fit in 64 bits");
    NORMA_CHECK(error == std::errc(), "'shape' must be a tuple of integers");
    next_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  // (), (3,) or (3, 4); a lone (3) is no tuple in Python.
  Shape tuple() {
    expect('(');
    std::vector<std::int64_t> extents;
    bool comma = true;
    while (!accept(')')) {
      NORMA_CHECK(comma, "'shape' must be a tuple of integers");
      extents.push_back(extent());
      comma = accept(',');
    }
    NORMA_CHECK(comma || extents.size() != 1, "'shape' must be a tuple of integers");
    return Shape(extents);
  }

  std::string_view text_;
  std::size_t next_ = 0;
};

struct Parsed {
  Shape shape;
  std::string descr;
  bool fortran_order = false;
  std::string_view elements;  // raw bytes
};

std::size_t little_endian(std::string_view bytes) {
  std::size_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// Bytes of one element as stored.
std::int64_t stored_size(const std::string& descr) {
  if (descr == "<f4" || descr == "<i4") return 4;
  if (descr == "<f8" || descr == "<i8") return 8;
  if (descr == "|b1") return 1;
  NORMA_CHECK(!descr.starts_with('>'), "big-endian dtype '", descr, "' cannot be read");
  NORMA_CHECK(descr.find('O') == std::string::npos, "object dtype '", descr, "' is never read (pickle)");
  detail::fail("dtype '", descr, "' cannot be read; expected <f4, <f8, <i8, <i4 or |b1");
}

Parsed parse(std::string_view file) {
  NORMA_CHECK(file.size() >= 10 && file.starts_with(magic), "not a .npy file");
  const int version = static_cast<unsigned char>(file[6]);
  NORMA_CHECK(version >= 1 && version <= 3, "format version ", version, " is unknown; expected 1, 2 or 3");
  const std::size_t start = version == 1 ? 10 : 12;
  NORMA_CHECK(file.size() >= start, "the file ends inside its header");
  const std::size_t length = little_endian(file.substr(8, start - 8));
  NORMA_CHECK(length <= file.size() - start, "the header's ", length, " bytes go beyond the file");
  const Header header = HeaderParser(file.substr(start, length)).parse();
  const std::string_view elements = file.substr(start + length);
  std::int64_t bytes = 0;
  NORMA_CHECK(!__builtin_mul_overflow(header.shape->numel(), stored_size(*header.descr), &bytes), "shape ",
              *header.shape, " is too large");
  NORMA_CHECK(static_cast<std::size_t>(bytes) == elements.size(), "shape ", *header.shape, " of ",
              *header.descr, " needs ", bytes, " bytes, the file has ", elements.size());
  return {*header.shape, *header.descr, *header.fortran_order, elements};
}

template <class Stored, class T>
Array converted(std::string_view elements, const Shape& shape) {
  const Array y = Array::empty(shape, dtype_of<T>());
  T* const out = y.data<T>();
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    Stored value;
    std::memcpy(&value, elements.data() + static_cast<std::size_t>(i) * sizeof value, sizeof value);
    out[i] = static_cast<T>(value);
  }
  return y;
}

Array elements_of(const std::string& descr, std::string_view elements, const Shape& shape) {
  if (descr == "<f4") return converted<float, float>(elements, shape);
  if (descr == "<f8") return converted<double, double>(elements, shape);
  if (descr == "<i8") return converted<std::int64_t, std::int64_t>(elements, shape);
  if (descr == "<i4") return converted<std::int32_t, std::int64_t>(elements, shape);
  return converted<unsigned char, bool>(elements, shape);  // any byte but 0 is true
}

// Fortran order is the C order of the reversed axes.
Array from_fortran(const Parsed& file) {
  const Shape& shape = file.shape;
  std::vector<std::int64_t> reversed(shape.begin(), shape.end());
  std::reverse(reversed.begin(), reversed.end());
  std::vector<int> axes;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) axes.push_back(axis);
  return elements_of(file.descr, file.elements, Shape(reversed)).permute(axes).contiguous();
}

std::string header_of(const Array& x) {
  std::string shape = "(";
  for (const std::int64_t extent : x.shape()) shape += detail::concat(extent, ", ");
  if (x.rank() > 1) shape.resize(shape.size() - 2);
  if (x.rank() == 1) shape.pop_back();
  const char* const descr = x.dtype() == f32   ? "<f4"
                            : x.dtype() == f64 ? "<f8"
                            : x.dtype() == i64 ? "<i8"
                                               : "|b1";
  std::string dict =
      detail::concat("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape, "), }");
  // Spaces and a newline, so that the elements start at a multiple of 64 bytes.
  const std::size_t length = (10 + dict.size() + 1 + 63) / 64 * 64 - 10;
  dict.resize(length - 1, ' ');
  dict += '\n';
  std::string out(magic);
  out += {'\x01', '\x00', static_cast<char>(length & 0xff), static_cast<char>(length >> 8)};
  return out + dict;
}

}  // namespace

Array load_npy(const std::string& path) { return parse_npy(read_file(path), path); }

Array parse_npy(std::string_view bytes, const std::string& name) {
  Parsed parsed;
  try {
    parsed = parse(bytes);
  } catch (const Error& error) {
    throw Error("load_npy " + name + ": " + error.what());
  }
  return parsed.fortran_order ? from_fortran(parsed)
                              : elements_of(parsed.descr, parsed.elements, parsed.shape);
}

void save_npy(const std::string& path, const Array& x) {
  check_defined(x, "save_npy");
  const Array host = x.to(cpu).contiguous();
  AtomicFile file(path);
  file.write(header_of(host));
  file.write(host.view().data, host.numel() * size_of(host.dtype()));
  file.commit();
}

}  // namespace norma
