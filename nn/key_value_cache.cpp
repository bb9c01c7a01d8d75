#include "nn/key_value_cache.h"

namespace norma::nn {
namespace {

void check_part(const char* what, const Tensor& x, const Array& held, std::int64_t length) {
  NORMA_CHECK(x.defined() && x.dim() >= 2, "KeyValueCache: ", what, " must be [.., new, d], got ",
              x.defined() ? x.shape() : Shape());
  NORMA_CHECK(!x.requires_grad(), "KeyValueCache: ", what,
              " are being recorded, but the cache keeps no history; generate inside NoGrad");
  if (length == 0) return;
  NORMA_CHECK(x.shape().with(-2, 1) == held.shape().with(-2, 1) && x.dtype() == held.dtype(),
              "KeyValueCache: ", what, " must be like the cached ones, ", held.shape().with(-2, length), " ",
              held.dtype(), ", in all but axis -2; got ", x.shape(), " ", x.dtype());
}

// A new array where x does not fit the one held.
void prepare(Array& held, const Tensor& x, std::int64_t capacity) {
  const Shape shape = x.shape().with(-2, capacity);
  const bool fits =
      held.defined() && held.shape() == shape && held.dtype() == x.dtype() && held.device() == x.device();
  if (!fits) held = Array::empty(shape, x.dtype(), x.device());
}

}  // namespace

KeyValueCache::KeyValueCache(std::int64_t capacity) : capacity_(capacity) {
  NORMA_CHECK(capacity > 0, "KeyValueCache: capacity must be > 0, got ", capacity);
}

std::pair<Tensor, Tensor> KeyValueCache::append(const Tensor& keys, const Tensor& values) {
  check_part("keys", keys, keys_, length_);
  check_part("values", values, values_, length_);
  const std::int64_t added = keys.size(-2);
  NORMA_CHECK(values.size(-2) == added, "KeyValueCache: got ", added, " keys and ", values.size(-2),
              " values");
  NORMA_CHECK(added <= capacity_ - length_, "KeyValueCache: holds ", length_, " of ", capacity_,
              " positions, ", added, " more do not fit");
  if (length_ == 0) {
    prepare(keys_, keys, capacity_);
    prepare(values_, values, capacity_);
  }
  const Slice place{.start = length_, .stop = length_ + added};
  keys_.slice(-2, place).copy_from(keys.array());
  values_.slice(-2, place).copy_from(values.array());
  length_ += added;
  const Slice all{.start = 0, .stop = length_};
  return {Tensor(keys_.slice(-2, all)), Tensor(values_.slice(-2, all))};
}

void KeyValueCache::clear(std::int64_t length) {
  NORMA_CHECK(length >= 0 && length <= length_, "KeyValueCache: clear needs a length in [0, ", length_,
              "], got ", length);
  length_ = length;
}

}  // namespace norma::nn
