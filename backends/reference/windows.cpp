// unfold and fold: one loop over the elements of columns, each of which is an element of x or lies in the
// padding.
#include "backends/elementwise.h"
#include "backends/reference/element.h"
#include "backends/reference/reference_backend.h"

namespace norma {
namespace {

/// Calls body(index in columns, index in x) for every element of columns [n, c * kernel, places] that is not
/// in the padding of x [n, c, h, w].
template <class Body>
void for_each_inside(const View& columns, const View& x, const Window& w, Body&& body) {
  const std::int64_t places = w.places(1, x.shape[3]), taps = w.kernel[0] * w.kernel[1];
  for_each(columns, [&](const Index& at) {
    const std::int64_t tap = at.at[1] % taps, place = at.at[2];
    const std::int64_t row = place / places * w.stride[0] + tap / w.kernel[1] * w.dilation[0] - w.padding[0];
    const std::int64_t column =
        place % places * w.stride[1] + tap % w.kernel[1] * w.dilation[1] - w.padding[1];
    if (row < 0 || row >= x.shape[2] || column < 0 || column >= x.shape[3]) return;
    body(at, Index{{at.at[0], at.at[1] / taps, row, column}});
  });
}

}  // namespace

void ReferenceBackend::unfold(View columns, View x, const Window& window) {
  for_float(x.dtype, "unfold", [&]<class T>() {
    for_each(columns, [&](const Index& at) { element<T>(columns, at) = 0; });
    for_each_inside(columns, x, window, [&](const Index& at, const Index& from) {
      element<T>(columns, at) = element<T>(x, from);
    });
  });
}

void ReferenceBackend::fold(View x, View columns, const Window& window) {
  for_float(x.dtype, "fold", [&]<class T>() {
    for_each(x, [&](const Index& at) { element<T>(x, at) = 0; });
    for_each_inside(columns, x, window,
                    [&](const Index& at, const Index& to) { element<T>(x, to) += element<T>(columns, at); });
  });
}

}  // namespace norma
