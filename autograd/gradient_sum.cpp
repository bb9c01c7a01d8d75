#include "autograd/gradient_sum.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "autograd/ops.h"
#include "autograd/ops/kernels.h"
#include "core/profile.h"

namespace norma::detail {

/// The parts of an array that are written, all along one axis and with one step. Index i of the axis has
/// place (i mod step) * turns + i / step, so that what lies in a part has neighbouring places.
class GradientSum::Written {
 public:
  Written(const Shape& shape, const Part& part)
      : axis_(part.axis),
        step_(part.range.step),
        extent_(shape[part.axis]),
        turns_((extent_ + step_ - 1) / step_) {}

  /// Notes a part, which is not empty. False where it is of another kind or meets one that was noted.
  bool add(const Part& part) {
    if (part.axis != axis_ || part.range.step != step_) return false;
    const std::int64_t begin = part.range.start % step_ * turns_ + part.range.start / step_;
    const std::int64_t end = begin + (part.range.stop - part.range.start + step_ - 1) / step_;
    const auto next = std::partition_point(places_.begin(), places_.end(),
                                           [&](const Places& earlier) { return earlier.end <= begin; });
    if (next != places_.end() && next->begin < end) return false;
    const bool touches_next = next != places_.end() && next->begin == end;
    const bool touches_last = next != places_.begin() && std::prev(next)->end == begin;
    if (touches_last) {
      std::prev(next)->end = touches_next ? next->end : end;
      if (touches_next) places_.erase(next);
    } else if (touches_next) {
      next->begin = begin;
    } else {
      places_.insert(next, {begin, end});
    }
    return true;
  }

  /// Zeros what is not written.
  void fill_the_rest(const Array& x) {
    std::int64_t done = 0;
    places_.push_back({step_ * turns_, step_ * turns_});
    for (const Places& written : places_) {
      while (done < written.begin) {  // one residue mod step_ at a time
        const std::int64_t end = std::min(written.begin, (done / turns_ + 1) * turns_);
        const std::int64_t start = done / turns_ + done % turns_ * step_;
        if (start < extent_) x.slice(axis_, {start, start + (end - done) * step_, step_}).fill(0);
        done = end;
      }
      done = written.end;
    }
  }

 private:
  struct Places {
    std::int64_t begin, end;
  };

  int axis_;
  std::int64_t step_, extent_, turns_;
  std::vector<Places> places_;  // in order, with gaps between them
};

void GradientSum::Free::operator()(Written* written) const { delete written; }

void GradientSum::add_to(Tensor& sum, const Tensor& gradient) {
  const ProfileSpan span(SpanKind::backward, "(sum of gradients)");
  if (!grad_enabled() && is_ours_alone(sum)) {
    kernels::binary_in_place(Binary::add, sum.array(), gradient.array(), "add_");
  } else {
    sum = norma::add(sum, gradient);
  }
}

void GradientSum::add_part(const Array& gradient, const Shape& shape, const Part& part) {
  if (!sum_.defined()) {
    sum_ = Tensor(Array::empty(shape, gradient.dtype(), gradient.device()));
    written_.reset(new Written(shape, part));
  }
  if (gradient.numel() == 0) return;
  if (written_ != nullptr && written_->add(part)) {
    sum_.array().slice(part.axis, part.range).copy_from(gradient);
    return;
  }
  if (!is_ours_alone(total())) sum_ = Tensor(sum_.array().clone());
  kernels::binary_in_place(Binary::add, sum_.array().slice(part.axis, part.range), gradient, "add_");
}

void GradientSum::fill_the_rest() {
  written_->fill_the_rest(sum_.array());
  written_.reset();
}

}  // namespace norma::detail
