// Convolution from planes that are laid out once with their padding. The lines of such a plane follow each
// other, so what a tap sees of all places is the same memory, moved by its offset o. Where the window steps
// by more than 1, each remainder of rows and columns is a plane of its own.
//   y[f, place] = bias[f] + sum over channels and taps of weight[f, channel, tap] x[channel, place + o]
//   dweight[f, channel, tap] = sum over images and places of dy[f, place] x[channel, place + o]
//   dx = for steps of 1, the convolution of dy with channels for filters and the taps in reverse order
// These are matrix products whose columns need not be written, nor packed. For y and dx a place counts along
// lines with their padding, and what is computed behind the columns is left out. Parallel over images, groups
// and bands of rows of places, for dweight over groups and parts of all bands: they follow from the shapes.
#include "backends/cpu/direct_convolution.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/lane_vector.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/transposed_copy.h"
#include "backends/cpu/windows.h"
#include "backends/elementwise.h"
#include "backends/strided.h"
#include "core/parallel.h"

namespace norma {
namespace {

constexpr std::int64_t band_values = 1 << 16;  // of planes laid out at a time: they stay in the second cache
constexpr std::int64_t most_filters = 64;      // of a group
constexpr std::int64_t least_tasks = 8;        // a band's filters are shared out where there are fewer bands
constexpr int tile_filters = 6;                // at most, whose sums over a tile of places stay in registers
constexpr int tile_packs(int filters) { return filters > 3 ? 2 : filters == 3 ? 3 : 4; }  // of places in it
constexpr std::int64_t chain = 256;      // products of dweight added up in T; their sums are in f64
constexpr std::int64_t most_parts = 32;  // of dweight's sum, as many as take `most_sums` values
constexpr std::int64_t most_sums = 1 << 20;
constexpr double task_work = 1e6;  // multiply-adds of a task, about
constexpr int summand_tile(std::int64_t packs) {
  return packs == 2 ? 6 : 12;
}  // sums of dweight in registers
template <class T>
constexpr std::int64_t widest_tile = 4 * pack_lanes<T>;

/// Planes [channels, height, width] of one image and group, seen from rows x columns places.
struct Lines {
  std::int64_t channels, filters, height, width, rows, columns, kernel[2], dilation[2], stride[2], top, left;

  std::int64_t taps() const { return kernel[0] * kernel[1]; }
  std::int64_t summands() const { return channels * taps(); }
  std::int64_t reach(int axis) const { return dilation[axis] * (kernel[axis] - 1); }
  /// Remainders, by the stride, of the rows or columns that a window sees.
  std::int64_t remainders(int axis) const { return std::min(stride[axis], reach(axis) + 1); }
  std::int64_t pitch() const { return columns + reach(1) / stride[1]; }
  /// Lines that `count` rows of places see of one remainder, and values of a channel that they see in all.
  std::int64_t lines(std::int64_t count) const { return count + reach(0) / stride[0]; }
  std::int64_t size(std::int64_t count) const {
    return remainders(0) * remainders(1) * lines(count) * pitch();
  }
  /// Whether this is worth it: little is computed in vain, what a row of places sees stays in the cache, and
  /// unfolding would not be lost in what so many filters take.
  bool pays() const {
    return columns * 4 >= pitch() * 3 && channels * size(1) <= band_values && filters <= most_filters;
  }
  /// Rows of places whose values fit in the cache; 0 or less where not one does.
  std::int64_t most_rows() const { return band_values / (channels * size(1) / lines(1)) - (lines(1) - 1); }
  /// Filters of a tile: as many in each as can be.
  std::int64_t tile() const {
    const std::int64_t tiles = (filters + tile_filters - 1) / tile_filters;
    return (filters + tiles - 1) / tiles;
  }
  /// Where each channel and tap sees the first of `count` rows of places.
  std::vector<std::int64_t> offsets(std::int64_t count) const {
    std::vector<std::int64_t> all;
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t i = 0; i < kernel[0] * dilation[0]; i += dilation[0])
        for (std::int64_t j = 0; j < kernel[1] * dilation[1]; j += dilation[1]) {
          const std::int64_t plane = (c * remainders(0) + i % stride[0]) * remainders(1) + j % stride[1];
          all.push_back((plane * lines(count) + i / stride[0]) * pitch() + j / stride[1]);
        }
    return all;
  }
};

/// The convolution itself.
Lines lines_of(const View& x, const View& weight, const Window& w, std::int64_t groups) {
  return {.channels = weight.shape[1],
          .filters = weight.shape[0] / groups,
          .height = x.shape[2],
          .width = x.shape[3],
          .rows = w.places(0, x.shape[2]),
          .columns = w.places(1, x.shape[3]),
          .kernel = {w.kernel[0], w.kernel[1]},
          .dilation = {w.dilation[0], w.dilation[1]},
          .stride = {w.stride[0], w.stride[1]},
          .top = w.padding[0],
          .left = w.padding[1]};
}
/// The one from dy to dx, for steps of 1.
Lines lines_back(const View& dx, const View& dy, const View& weight, const Window& w, std::int64_t groups) {
  return {.channels = weight.shape[0] / groups,
          .filters = weight.shape[1],
          .height = dy.shape[2],
          .width = dy.shape[3],
          .rows = dx.shape[2],
          .columns = dx.shape[3],
          .kernel = {w.kernel[0], w.kernel[1]},
          .dilation = {w.dilation[0], w.dilation[1]},
          .stride = {1, 1},
          .top = w.dilation[0] * (w.kernel[0] - 1) - w.padding[0],
          .left = w.dilation[1] * (w.kernel[1] - 1) - w.padding[1]};
}

/// to[u] = x[u * stride], n values.
template <class T>
void copy_steps(T* to, const T* x, std::int64_t n, std::int64_t stride) {
  if (stride == 1) return copy_row(to, x, n);
  copy_row(n, to, 1, x, stride);
}

/// What `count` rows of places, from `first` on, see of a plane with its padding.
template <class T>
void lay_out(const Lines& l, std::int64_t first, std::int64_t count, T* to, const T* x) {
  for (std::int64_t below = 0; below < l.remainders(0); ++below)
    for (std::int64_t right = 0; right < l.remainders(1); ++right) {
      const std::int64_t before = std::max<std::int64_t>(0, l.left - right + l.stride[1] - 1) / l.stride[1];
      const std::int64_t last =
          std::min(l.pitch(), (l.width + l.left - right + l.stride[1] - 1) / l.stride[1]);
      for (std::int64_t line = first; line < first + l.lines(count); ++line, to += l.pitch()) {
        const std::int64_t row = line * l.stride[0] + below - l.top;
        if (row < 0 || row >= l.height || last <= before) {
          std::fill_n(to, l.pitch(), T(0));
          continue;
        }
        write_zeros(to, before);
        copy_steps(to + before, x + row * l.width + before * l.stride[1] + right - l.left, last - before,
                   l.stride[1]);
        write_zeros(to + last, l.pitch() - last);
      }
    }
}

/// to[f, place] = start[f] + sum over k of weight[k, f] x[offset[k] + place], for a tile of places.
template <int filters, int packs, class T>
void add_up(T* to, std::int64_t leading, const T* weight, const T* start, const T* x, std::int64_t summands,
            const std::int64_t* offset) {
  Pack<T> sums[filters][packs];
  const auto each = [&](const auto& body) {
#pragma GCC unroll 8
    for (int f = 0; f < filters; ++f)
#pragma GCC unroll 8
      for (int i = 0; i < packs; ++i) body(f, i);
  };
  each([&](int f, int i) { sums[f][i] = start[f] - Pack<T>{}; });
  for (std::int64_t k = 0; k < summands; ++k) {
    Pack<T> seen[packs];
#pragma GCC unroll 8
    for (int i = 0; i < packs; ++i) load(seen[i], x + offset[k] + i * pack_lanes<T>);
    each([&](int f, int i) { sums[f][i] += weight[k * filters + f] * seen[i]; });
  }
  each([&](int f, int i) { store(to + f * leading + i * pack_lanes<T>, sums[f][i]); });
}

/// Calls body(n), the constant, for n in [1, tile_filters].
template <class Body>
void with_filters(std::int64_t n, const Body& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    ((n == i + 1 ? body(std::integral_constant<int, i + 1>()) : void()), ...);
  }
  (std::make_integer_sequence<int, tile_filters>());
}

/// weight(filter, k) in tiles [k, filters of the tile], group by group.
template <class T, class Weight>
void pack_weights(const Lines& l, std::int64_t groups, T* packed, const Weight& weight) {
  for (std::int64_t group = 0; group < groups; ++group)
    for (std::int64_t first = 0; first < l.filters; first += l.tile()) {
      const std::int64_t count = std::min(l.tile(), l.filters - first);
      for (std::int64_t k = 0; k < l.summands(); ++k)
        for (std::int64_t f = 0; f < count; ++f) *packed++ = weight(group, first + f, k);
    }
}

/// How the work is cut: into bands of rows of places, and, where these are few, the filters into shares.
struct Cut {
  std::int64_t height, bands, filters, shares;

  Cut(const Lines& l, std::int64_t images, std::int64_t groups) {
    const std::int64_t enough = (images * groups * l.rows + least_tasks - 1) / least_tasks;
    height = std::clamp<std::int64_t>(std::min(l.most_rows(), enough), 1, l.rows);
    bands = (l.rows + height - 1) / height;
    const std::int64_t tiles = (l.filters + l.tile() - 1) / l.tile();
    const std::int64_t wanted = std::clamp<std::int64_t>(least_tasks / (images * groups * bands), 1, tiles);
    filters = (tiles + wanted - 1) / wanted * l.tile();
    shares = (l.filters + filters - 1) / filters;
  }
};

/// `count` rows of places, at y of all filters, for filters [begin, end), from what is laid out at x. found:
/// room for a tile of filters.
template <class T>
void filter_band(const Lines& l, std::int64_t count, std::int64_t begin, std::int64_t end, T* y,
                 const T* packed, const T* bias, const T* x, const std::vector<std::int64_t>& offsets,
                 T* found) {
  const std::int64_t places = count * l.pitch() + widest_tile<T>;
  for (std::int64_t first = begin; first < end; first += l.tile())
    with_filters(std::min(l.tile(), end - first), [&](auto filters) {
      constexpr int packs = tile_packs(filters);
      T start[tile_filters] = {};
      if (bias != nullptr) std::copy_n(bias + first, filters.value, start);
      const T* const weight = packed + first * l.summands();
      for (std::int64_t place = 0; place < count * l.pitch(); place += packs * pack_lanes<T>)
        add_up<filters, packs>(found + place, places, weight, start, x + place, l.summands(), offsets.data());
      for (std::int64_t f = 0; f < filters; ++f)
        for (std::int64_t r = 0; r < count; ++r)
          copy_row(y + ((first + f) * l.rows + r) * l.columns, found + f * places + r * l.pitch(), l.columns);
    });
}

/// y [images, groups, filters, places] from x [images, groups, channels, ..].
template <class T>
void convolve(const Lines& l, std::int64_t images, std::int64_t groups, T* y, const T* x, const T* packed,
              const T* bias) {
  const Cut cut(l, images, groups);
  const std::vector<std::int64_t> offsets = l.offsets(cut.height);
  const std::int64_t size = l.size(cut.height);
  const std::int64_t behind = widest_tile<T> + l.pitch() - l.columns;  // what the last tile of places sees
  const auto work = static_cast<double>(cut.height * l.pitch() * cut.filters * l.summands());
  const auto block = std::max<std::int64_t>(1, static_cast<std::int64_t>(task_work / work));
  parallel_for(images * groups * cut.bands * cut.shares, block, [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> memory(l.channels * size + behind);
    Scratch<T> found(tile_filters * (cut.height * l.pitch() + widest_tile<T>));
    std::fill_n(memory.data() + l.channels * size, behind, T(0));
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t entry = task / cut.shares / cut.bands, group = entry % groups;
      const std::int64_t row = task / cut.shares % cut.bands * cut.height;
      const std::int64_t first = task % cut.shares * cut.filters;
      for (std::int64_t c = 0; c < l.channels; ++c)
        lay_out(l, row, cut.height, memory.data() + c * size,
                x + (entry * l.channels + c) * l.height * l.width);
      filter_band(l, std::min(cut.height, l.rows - row), first, std::min(l.filters, first + cut.filters),
                  y + (entry * l.filters * l.rows + row) * l.columns,
                  packed + group * l.filters * l.summands(),
                  bias == nullptr ? nullptr : bias + group * l.filters, memory.data(), offsets, found.data());
    }
  });
}

/// How dweight is summed: bands of rows of places of each image in parts, filters in blocks as wide as one or
/// two vectors, summands in tiles.
struct Sums {
  std::int64_t packs, width, blocks, tile, summands, height, bands, parts;

  Sums(const Lines& l, std::int64_t lanes, std::int64_t images, std::int64_t groups) {
    const std::int64_t vectors = (l.filters + lanes - 1) / lanes;
    packs = vectors % 2 == 0 ? 2 : 1;
    width = packs * lanes, blocks = vectors / packs;
    tile = summand_tile(packs);
    summands = (l.summands() + tile - 1) / tile * tile;
    const std::int64_t of_dy = band_values / (blocks * width * l.columns);
    height = std::clamp<std::int64_t>(std::min(l.most_rows(), of_dy), 1, l.rows);
    bands = (l.rows + height - 1) / height;
    parts = std::clamp<std::int64_t>(most_parts / groups, 1, images * bands);
    while (parts > 1 && parts * size() > most_sums) parts /= 2;
  }
  std::int64_t size() const { return blocks * summands * width; }
};

/// totals[k, filter] += the sum over places of dy[place, filter] x[offset[k] + place], for a tile of k.
template <int packs, class T>
void correlate(double* totals, const T* x, std::int64_t pitch, const std::int64_t* offset, const T* dy,
               std::int64_t dy_pitch, std::int64_t rows, std::int64_t columns) {
  constexpr int tile = summand_tile(packs), lanes = pack_lanes<T>, width = packs * lanes;
  const T* from[tile];
  for (int k = 0; k < tile; ++k) from[k] = x + offset[k];
  Pack<T> sums[tile][packs] = {};
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t place = 0; place < columns; ++place) {
      Pack<T> given[packs];
#pragma GCC unroll 2
      for (int i = 0; i < packs; ++i) load(given[i], dy + (row * dy_pitch + place) * width + i * lanes);
#pragma GCC unroll 16
      for (int k = 0; k < tile; ++k)
#pragma GCC unroll 2
        for (int i = 0; i < packs; ++i) sums[k][i] += from[k][row * pitch + place] * given[i];
    }
  T values[tile * width];
#pragma GCC unroll 16
  for (int k = 0; k < tile; ++k)
#pragma GCC unroll 2
    for (int i = 0; i < packs; ++i) store(values + k * width + i * lanes, sums[k][i]);
#pragma omp simd
  for (int i = 0; i < tile * width; ++i) totals[i] += static_cast<double>(values[i]);
}

/// totals [blocks, summands, width] += what `count` rows of places give, from what is laid out at x, and dy
/// [blocks, places, width].
template <class T>
void correlate_band(const Lines& l, const Sums& s, std::int64_t count, double* totals, const T* x,
                    const std::vector<std::int64_t>& offsets, const T* dy) {
  const std::int64_t across = std::min(l.columns, chain), down = chain / across;
  for (std::int64_t row = 0; row < count; row += down)
    for (std::int64_t place = 0; place < l.columns; place += across)
      for (std::int64_t block = 0; block < s.blocks; ++block)
        for (std::int64_t k = 0; k < s.summands; k += s.tile)
          (s.packs == 2 ? correlate<2, T>
                        : correlate<1, T>)(totals + (block * s.summands + k) * s.width,
                                           x + row * l.pitch() + place, l.pitch(), offsets.data() + k,
                                           dy + ((block * count + row) * l.columns + place) * s.width,
                                           l.columns, std::min(down, count - row),
                                           std::min(across, l.columns - place));
}

/// dweight [groups, filters, summands] = the sums of totals [groups, parts, blocks, summands, width].
template <class T>
void add_parts(const Lines& l, const Sums& s, std::int64_t groups, T* dweight, const double* totals) {
  const std::int64_t block = std::max<std::int64_t>(1, block_elements / (s.parts * s.width));
  parallel_for(groups * s.blocks * l.summands(), block, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> sums(static_cast<std::size_t>(s.width));
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t k = i % l.summands(), which = i / l.summands() % s.blocks;
      const std::int64_t group = i / l.summands() / s.blocks, filter = which * s.width;
      const double* const from = totals + group * s.parts * s.size() + (which * s.summands + k) * s.width;
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::int64_t part = 0; part < s.parts; ++part)
        for (std::int64_t f = 0; f < s.width; ++f)
          sums[static_cast<std::size_t>(f)] += from[part * s.size() + f];
      T* const to = dweight + (group * l.filters + filter) * l.summands() + k;
      for (std::int64_t f = 0; f < std::min(s.width, l.filters - filter); ++f)
        to[f * l.summands()] = static_cast<T>(sums[static_cast<std::size_t>(f)]);
    }
  });
}

/// dweight [groups, filters, summands] from dy [images, groups, filters, places] and x.
template <class T>
void correlate_all(const Lines& l, std::int64_t images, std::int64_t groups, T* dweight, const T* dy,
                   const T* x) {
  const Sums s(l, pack_lanes<T>, images, groups);
  std::vector<std::int64_t> offsets = l.offsets(s.height);
  offsets.resize(static_cast<std::size_t>(s.summands), 0);  // what fills the last tile is left out
  const std::int64_t size = l.size(s.height), all = images * s.bands;
  Scratch<double> totals(groups * s.parts * s.size());
  parallel_for(groups * s.parts, 1, [&](std::int64_t begin, std::int64_t end) {
    Scratch<T> memory(l.channels * size), given(s.blocks * s.width * s.height * l.columns);
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t group = task / s.parts, part = task % s.parts;
      double* const own = totals.data() + task * s.size();
      std::fill_n(own, s.size(), 0.0);
      for (std::int64_t band = part * all / s.parts; band < (part + 1) * all / s.parts; ++band) {
        const std::int64_t entry = band / s.bands * groups + group, row = band % s.bands * s.height;
        const std::int64_t count = std::min(s.height, l.rows - row), places = count * l.columns;
        for (std::int64_t c = 0; c < l.channels; ++c)
          lay_out(l, row, s.height, memory.data() + c * size,
                  x + (entry * l.channels + c) * l.height * l.width);
        if (l.filters % s.width != 0) std::fill_n(given.data(), s.blocks * s.width * places, T(0));
        for (std::int64_t f = 0; f < l.filters; f += s.width)
          transpose_tile(places, std::min(s.width, l.filters - f), given.data() + f * places, s.width,
                         dy + ((entry * l.filters + f) * l.rows + row) * l.columns, l.rows * l.columns);
        correlate_band(l, s, count, own, memory.data(), offsets, given.data());
      }
    }
  });
  add_parts(l, s, groups, dweight, totals.data());
}

}  // namespace

bool is_direct(const View& x, const View& weight, const Window& w, std::int64_t groups) {
  if (w.kernel[0] * w.kernel[1] == 1 && w.stride[0] * w.stride[1] == 1) return false;  // x is its columns
  for (int axis = 0; axis < 2; ++axis)
    if (w.padding[axis] > w.dilation[axis] * (w.kernel[axis] - 1)) return false;
  return lines_of(x, weight, w, groups).pays();
}

void direct_convolution(View y, View x, View weight, View bias, const Window& w, std::int64_t groups) {
  const Lines l = lines_of(x, weight, w, groups);
  for_float(x.dtype, "conv2d", [&]<class T>() {
    const T* const values = pointer<T>(weight);
    Scratch<T> packed(weight.numel());
    pack_weights(l, groups, packed.data(), [&](std::int64_t group, std::int64_t filter, std::int64_t k) {
      return values[(group * l.filters + filter) * l.summands() + k];
    });
    convolve<T>(l, x.shape[0], groups, pointer<T>(y), pointer<T>(x), packed.data(),
                bias.data == nullptr ? nullptr : pointer<T>(bias));
  });
}

bool direct_input_gradient(View dx, View dy, View weight, const Window& w, std::int64_t groups) {
  if (w.stride[0] != 1 || w.stride[1] != 1) return false;
  const Lines l = lines_back(dx, dy, weight, w, groups);
  if (!l.pays()) return false;
  return for_float(dx.dtype, "conv2d", [&]<class T>() {
    const T* const values = pointer<T>(weight);
    // Zeros around dy take no part in dx: times infinity they would.
    if (!std::all_of(values, values + weight.numel(), [](T value) { return std::isfinite(value); }))
      return false;
    Scratch<T> packed(weight.numel());
    pack_weights(l, groups, packed.data(), [&](std::int64_t group, std::int64_t channel, std::int64_t k) {
      const std::int64_t filter = group * l.channels + k / l.taps(), tap = l.taps() - 1 - k % l.taps();
      return values[(filter * l.filters + channel) * l.taps() + tap];
    });
    convolve<T>(l, dx.shape[0], groups, pointer<T>(dx), pointer<T>(dy), packed.data(), nullptr);
    return true;
  });
}

void direct_weight_gradient(View dweight, View dy, View x, const Window& w, std::int64_t groups) {
  for_float(x.dtype, "conv2d", [&]<class T>() {
    correlate_all<T>(lines_of(x, dweight, w, groups), x.shape[0], groups, pointer<T>(dweight), pointer<T>(dy),
                     pointer<T>(x));
  });
}

}  // namespace norma
