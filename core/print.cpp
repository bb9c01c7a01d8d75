// Printing by NumPy's rules (numpy.set_printoptions(precision=4)): one format for the whole array, chosen
// from the elements that are shown.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "core/array.h"

namespace norma {
namespace {

constexpr int precision = 4;              // digits after the point
constexpr std::size_t line_width = 75;    // characters
constexpr std::int64_t threshold = 1000;  // elements; larger arrays are summarized
constexpr std::int64_t edge_items = 3;    // elements kept at each end of an axis

/// Is the middle of this axis left out?
bool is_cut(const Shape& shape, int axis) {
  return shape.numel() > threshold && shape[axis] > 2 * edge_items;
}

// The elements that will be shown: the two ends of each axis that is cut, copied together.
Array shown_part(const Array& x) {
  Array part = x;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (!is_cut(x.shape(), axis)) continue;
    const Array front = part.slice(axis, {0, edge_items});
    const Array back = part.slice(axis, {-edge_items, Slice::end});
    const Array both = Array::empty(part.shape().with(axis, 2 * edge_items), x.dtype(), x.device());
    both.slice(axis, {0, edge_items}).copy_from(front);
    both.slice(axis, {edge_items, Slice::end}).copy_from(back);
    part = both;
  }
  return part;
}

template <class T, class... Format>
std::string digits(T value, Format... format) {
  char buffer[512];  // the longest f64 in fixed notation has 309 + 1 + 4 characters
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, format...).ptr);
}

std::size_t digits_after_point(const std::string& text) {
  const auto point = text.find('.');
  return point == std::string::npos ? 0 : std::min(text.find('e'), text.size()) - point - 1;
}

// Shortest digits that identify the value, at most `precision` after the point, no zeros at the end: "2.",
// "0.1".
template <class T>
std::string fixed_text(T value) {
  std::string text = digits(value, std::chars_format::fixed);
  if (digits_after_point(text) > precision) {
    text = digits(value, std::chars_format::fixed, precision);
    while (text.back() == '0') text.pop_back();
  }
  return text.find('.') == std::string::npos ? text + '.' : text;
}

// Digits after the point that the value needs in scientific notation, at most `precision`.
template <class T>
int scientific_digits(T value) {
  std::string text = digits(value, std::chars_format::scientific);
  if (digits_after_point(text) > precision) text = digits(value, std::chars_format::scientific, precision);
  const std::string mantissa = text.substr(0, text.find('e'));
  const auto last = mantissa.find_last_not_of('0');
  const auto point = mantissa.find('.');
  return point == std::string::npos || last <= point ? 0 : static_cast<int>(last - point);
}

template <class T>
std::string scientific_text(T value, int after_point, std::size_t exponent_digits) {
  std::string text = digits(value, std::chars_format::scientific, after_point);
  if (after_point == 0) text.insert(text.find('e'), ".");
  const std::size_t exponent = text.find('e') + 2;  // after the sign
  return text.insert(exponent, exponent_digits - (text.size() - exponent), '0');
}

void align_right(std::vector<std::string>& texts) {
  std::size_t width = 0;
  for (const std::string& text : texts) width = std::max(width, text.size());
  for (std::string& text : texts) text.insert(0, width - text.size(), ' ');
}

template <class T>
std::string not_finite_text(T value) {
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

template <class T>
bool needs_scientific(const std::vector<T>& values) {
  T largest = 0, smallest = 0;
  for (const T value : values) {
    if (!std::isfinite(value) || value == 0) continue;
    const T magnitude = std::abs(value);
    largest = std::max(largest, magnitude);
    smallest = smallest == 0 ? magnitude : std::min(smallest, magnitude);
  }
  return largest != 0 && (largest >= T(1e8) || smallest < T(0.0001) || largest / smallest > T(1000));
}

// Points and exponents come to lie under each other.
template <class T>
std::vector<std::string> scientific_texts(const std::vector<T>& values) {
  int after_point = 0;
  std::size_t exponent_digits = 0;
  for (const T value : values) {
    if (!std::isfinite(value)) continue;
    after_point = std::max(after_point, scientific_digits(value));
    const std::string text = digits(value, std::chars_format::scientific);
    exponent_digits = std::max(exponent_digits, text.size() - text.find('e') - 2);
  }
  std::vector<std::string> texts;
  for (const T value : values) {
    texts.push_back(std::isfinite(value) ? scientific_text(value, after_point, exponent_digits)
                                         : not_finite_text(value));
  }
  return texts;
}

// Points come to lie under each other.
template <class T>
std::vector<std::string> fixed_texts(const std::vector<T>& values) {
  std::vector<std::string> texts;
  std::size_t padded = 0;  // most digits after the point
  for (const T value : values) {
    texts.push_back(std::isfinite(value) ? fixed_text(value) : not_finite_text(value));
    if (std::isfinite(value)) padded = std::max(padded, digits_after_point(texts.back()));
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (std::isfinite(values[i])) texts[i].append(padded - digits_after_point(texts[i]), ' ');
  }
  return texts;
}

template <class T>
std::vector<std::string> float_texts(const std::vector<T>& values) {
  std::vector<std::string> texts = needs_scientific(values) ? scientific_texts(values) : fixed_texts(values);
  align_right(texts);
  return texts;
}

std::vector<std::string> element_texts(const Array& x) {
  if (x.dtype() == f32) return float_texts(x.to_vector<float>());
  if (x.dtype() == f64) return float_texts(x.to_vector<double>());
  std::vector<std::string> texts;
  if (x.dtype() == i64) {
    for (const std::int64_t value : x.to_vector<std::int64_t>()) texts.push_back(digits(value));
  } else {
    for (const bool value : x.to_vector<bool>()) texts.push_back(value ? "True" : "False");
    if (x.rank() > 0) texts.push_back("False");  // NumPy keeps room for False; the extra text is not shown
  }
  align_right(texts);
  return texts;
}

// Writes the elements of one axis after another; `next_` walks through the texts in row-major order.
class Printer {
 public:
  Printer(const Shape& shape, std::vector<std::string> texts) : shape_(shape), texts_(std::move(texts)) {}

  std::string print(int axis) {
    if (axis == shape_.rank()) return texts_[next_++];
    return '[' + (axis == shape_.rank() - 1 ? line(axis) : block(axis)) + ']';
  }

 private:
  // The sub-arrays of an axis, one blank line between them for each further axis below.
  std::string block(int axis) {
    const std::string gap = std::string(at(shape_.rank() - axis - 1), '\n') + std::string(at(axis + 1), ' ');
    std::string out;
    for (std::int64_t i = 0; i < shape_[axis]; ++i) {
      if (i > 0) out += gap;
      if (i == edge_items && is_cut(shape_, axis)) {
        out += "..." + gap;
        i = shape_[axis] - edge_items;
      }
      out += print(axis + 1);
    }
    return out;
  }

  // The elements of the last axis, broken into lines.
  std::string line(int axis) {
    const std::string indent(at(axis + 1), ' ');
    const std::size_t width = line_width - 1 - at(axis);  // room for the brackets that close
    std::string done, current = indent;
    const auto add = [&](const std::string& word) {
      if (current.size() + word.size() > width && current.size() > indent.size()) {
        current.pop_back();  // the space
        done += current + '\n';
        current = indent;
      }
      current += word + ' ';
    };
    for (std::int64_t i = 0; i < shape_[axis]; ++i) {
      if (i == edge_items && is_cut(shape_, axis)) {
        add("...");
        i = shape_[axis] - edge_items;
      }
      add(texts_[next_++]);
    }
    current.pop_back();
    return (done + current).substr(indent.size());
  }

  static std::size_t at(int count) { return static_cast<std::size_t>(count); }

  const Shape shape_;
  const std::vector<std::string> texts_;
  std::size_t next_ = 0;
};

}  // namespace

std::string Array::to_string() const {
  if (!defined()) return "undefined";
  if (numel() == 0) {
    if (rank() == 1) return "[]";
    const std::string extents = detail::text(shape_);
    return "[], shape=(" + extents.substr(1, extents.size() - 2) + ")";
  }
  return Printer(shape_, element_texts(shown_part(*this).to(cpu))).print(0);
}

}  // namespace norma
