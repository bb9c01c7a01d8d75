// Array = View + ownership: dtype, device, shared storage, version counter; no history. Views (slice,
// permute, expand, reshape where possible) share storage with their base.
#pragma once

#include <algorithm>
#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/backend.h"
#include "core/view.h"

namespace norma {

/// Half-open range of one axis, as in Python: [start, stop) with a step of at least 1. Negative bounds count
/// from the end; bounds outside are clipped.
struct Slice {
  static constexpr std::int64_t end = INT64_MAX;
  std::int64_t start = 0;
  std::int64_t stop = end;
  std::int64_t step = 1;
};

/// The same elements of an axis, told by 0 <= start <= stop <= extent, and a step of 1 where there is but
/// one.
Slice clipped(const Slice& range, std::int64_t extent);

class Array {
 public:
  /// Undefined: no storage. Most calls on it throw.
  Array() = default;

  // Creation. All are contiguous. `empty` is not initialized.
  static Array empty(const Shape& shape, DType dtype = f32, Device device = cpu);
  static Array full(const Shape& shape, double value, DType dtype = f32, Device device = cpu);
  static Array zeros(const Shape& shape, DType dtype = f32, Device device = cpu) {
    return full(shape, 0, dtype, device);
  }
  static Array ones(const Shape& shape, DType dtype = f32, Device device = cpu) {
    return full(shape, 1, dtype, device);
  }
  /// start, start + step, ... below stop (above, for negative steps).
  static Array arange(double start, double stop, double step = 1, DType dtype = i64, Device device = cpu);
  /// Copies host values in row-major order; their number must be shape.numel().
  template <class T>
  static Array from(std::span<const T> values, const Shape& shape, Device device = cpu) {
    return from_host(values.data(), static_cast<std::int64_t>(values.size()), dtype_of<T>(), shape, device);
  }
  template <class T>
  static Array from(const std::vector<T>& values, const Shape& shape, Device device = cpu) {
    if constexpr (std::same_as<T, bool>) {
      const std::vector<unsigned char> bytes(values.begin(), values.end());
      return from_host(bytes.data(), static_cast<std::int64_t>(bytes.size()), boolean, shape, device);
    } else {
      return from(std::span<const T>(values), shape, device);
    }
  }
  static Array random(Random distribution, const Shape& shape, double a, double b, DType dtype, Device device,
                      Generator& generator);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  std::int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const;
  std::span<const std::int64_t> strides() const {
    return {strides_.data(), static_cast<std::size_t>(rank())};
  }
  bool is_contiguous() const;
  View view() const;
  /// A pointer-less view for an undefined array: an absent optional argument of a kernel.
  View view_or_none() const { return defined() ? view() : View{}; }
  /// First element. Throws when T is not the dtype's type or the host cannot read the device.
  template <class T>
  T* data() const {
    return static_cast<T*>(host_data(dtype_of<T>()));
  }

  std::int64_t version() const;
  /// Notes an in-place change made through view() or data().
  void bump_version() const;
  /// Version at the latest in-place change that a graph recorded; other arrays on this storage are stale
  /// then.
  std::int64_t recorded_version() const { return storage_->recorded_version; }
  void note_recorded_change() const { storage_->recorded_version = storage_->version; }
  bool shares_storage(const Array& other) const { return defined() && storage_ == other.storage_; }
  /// True when nobody else holds the storage, and this array spans it without gaps: it may be overwritten.
  bool is_sole_owner() const { return storage_.use_count() == 1 && is_contiguous(); }

  // Views: no copy.
  Array permute(std::span<const int> axes) const;
  Array transpose(int axis0, int axis1) const;
  Array slice(int axis, Slice range) const;
  /// Extents of 1 stretched (stride 0), new leading axes added; throws with both shapes otherwise.
  Array expand(const Shape& shape) const;
  Array squeeze(int axis) const;
  Array unsqueeze(int axis) const;

  /// A view when the strides allow it, else a contiguous copy. One extent may be -1.
  Array reshape(std::span<const std::int64_t> extents) const;
  Array reshape(const Shape& shape) const { return reshape(shape.extents()); }
  /// True when reshape to this shape needs no copy.
  bool can_view_as(const Shape& shape) const;

  Array contiguous() const;  // itself when it is contiguous
  Array clone() const;       // always a contiguous copy
  Array to(DType dtype) const;
  Array to(Device device) const;

  /// Overwrites the elements with source's (broadcast, converted). Overlapping memory reads as if copied
  /// first.
  void copy_from(const Array& source) const;
  void fill(double value) const;

  /// Value of the only element. Throws when there is not exactly one.
  double item() const;
  /// Element at an index, checked in every build.
  double at(std::span<const std::int64_t> index) const;
  double at(std::initializer_list<std::int64_t> index) const {
    return at(std::span(index.begin(), index.size()));
  }
  /// Row-major copy; T must match the dtype.
  template <class T>
  std::vector<T> to_vector() const {
    if constexpr (std::same_as<T, bool>) {
      std::vector<unsigned char> bytes(static_cast<std::size_t>(numel()));
      copy_to_host(bytes.data(), boolean);
      return std::vector<bool>(bytes.begin(), bytes.end());
    } else {
      std::vector<T> out(static_cast<std::size_t>(numel()));
      copy_to_host(out.data(), dtype_of<T>());
      return out;
    }
  }
  template <class T>
  void copy_to(std::span<T> out) const {
    NORMA_CHECK(static_cast<std::int64_t>(out.size()) == numel(), "copy_to: needs room for ", numel(),
                " elements, got ", out.size());
    copy_to_host(out.data(), dtype_of<T>());
  }

  /// As NumPy prints: nested brackets, 4 digits, the middle of long axes left out.
  std::string to_string() const;

 private:
  /// Contiguous, from the start of the storage.
  Array(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype)
      : storage_(std::move(storage)), shape_(shape), strides_(contiguous_strides(shape)), dtype_(dtype) {}

  static Array from_host(const void* values, std::int64_t count, DType dtype, const Shape& shape,
                         Device device);
  void copy_to_host(void* out, DType dtype) const;
  void* host_data(DType dtype) const;
  Array with_layout(const Shape& shape, std::span<const std::int64_t> strides, std::int64_t offset) const;

  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;  // elements from the start of the storage
  Shape shape_;
  std::array<std::int64_t, max_rank> strides_{};
  DType dtype_ = DType::f32;
};

/// Checks that the array is defined; throws "op: the array is undefined" otherwise.
inline void check_defined(const Array& x, const char* op) {
  NORMA_CHECK(x.defined(), op, ": the array is undefined (default-constructed or moved from)");
}
/// True when some element of one may lie in the memory of the other (by address range).
bool may_overlap(const Array& a, const Array& b);
/// True when two indices of the array reach one element (an expanded axis).
bool overlaps_itself(const Array& a);

// Small, and called at every step of every op: so they lie here.

inline Device Array::device() const {
  check_defined(*this, "device");
  return storage_->device();
}

inline bool Array::is_contiguous() const {
  check_defined(*this, "is_contiguous");
  return norma::is_contiguous(rank(), shape_.padded().data(), strides_.data());
}

inline View Array::view() const {
  check_defined(*this, "view");
  View view;
  if (storage_->data() != nullptr) {
    view.data = static_cast<char*>(storage_->data()) + offset_ * size_of(dtype_);
  }
  view.dtype = dtype_;
  view.rank = rank();
  std::copy_n(shape_.padded().begin(), max_rank, view.shape);
  std::copy_n(strides_.begin(), max_rank, view.strides);
  return view;
}

inline std::int64_t Array::version() const {
  check_defined(*this, "version");
  return storage_->version;
}

inline void Array::bump_version() const {
  check_defined(*this, "bump_version");
  ++storage_->version;
}

}  // namespace norma
