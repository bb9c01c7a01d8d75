// The tile and the packing of kernels.h for one instruction set. Included by a file that has defined, in this
// order: GEMM_TARGET (the attribute that lets a function use the instructions), and inside this namespace the
// struct Lanes: the type Vector, `width` values in it, `tile_rows`, `steps_together` (of k in a turn of the
// innermost loop), `rows_without_packing` (of GemmKernels), and the operations used below. Each such
// file is compiled for every processor: only functions marked GEMM_TARGET use its instructions.
namespace norma {
namespace {

constexpr int width = Lanes::width, tile_rows = Lanes::tile_rows, steps_together = Lanes::steps_together;
constexpr int a_stride = (tile_rows + width - 1) / width * width, b_stride = 2 * width;

// Columns: vectors of c in a row. rows_apart: a is read in the rows of a matrix as it lies (a_step = 1), else
// with the values of a step side by side (a_row = 1).
template <int rows, int vectors, bool rows_apart>
GEMM_TARGET void run_tile(const GemmTile& t) {
  typename Lanes::Vector sum[rows][vectors];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    for (int v = 0; v < vectors; ++v) sum[i][v] = Lanes::zero();
  }
  for (int i = 0; i < rows; ++i) {  // c is written at the end: fetch it meanwhile
    for (int v = 0; v < vectors; ++v) __builtin_prefetch(t.c + i * t.c_row + v * width, 1);
  }
  // Rows 3 q, 3 q + 1 and 3 q + 2 by one pointer each: there are registers for a third of the rows.
  const float* base[(rows + 2) / 3];
  for (int q = 0; q < (rows + 2) / 3; ++q) base[q] = t.a + 3 * q * t.a_row;
  const std::int64_t a_row = t.a_row, a_step = t.a_step, b_step = t.b_step, k = t.k;
  const float *a = t.a, *b = t.b, *next = t.next_b;
#pragma GCC unroll steps_together
  for (std::int64_t p = 0; p < k; ++p, a += a_step, b += b_step, next += 16) {
    __builtin_prefetch(next, 0, 2);
    typename Lanes::Vector columns[vectors];
    for (int v = 0; v < vectors; ++v) columns[v] = Lanes::load(b + v * width);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const auto factor = Lanes::broadcast(rows_apart ? base[i / 3] + (i % 3) * a_row + p : a + i);
      for (int v = 0; v < vectors; ++v) sum[i][v] = Lanes::multiply_add(factor, columns[v], sum[i][v]);
    }
  }
  const auto alpha = Lanes::broadcast(&t.alpha), beta = Lanes::broadcast(&t.beta);
  const bool adds = t.beta != 0, whole = t.columns == vectors * width;
  const auto last = Lanes::mask(t.columns - (vectors - 1) * width);
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    float* const c = t.c + i * t.c_row;
    const float* const d = t.d + i * t.d_row;
    for (int v = 0; v < vectors; ++v) {
      auto value = Lanes::multiply(alpha, sum[i][v]);
      if (v + 1 < vectors || whole) {
        if (adds) value = Lanes::multiply_add(beta, Lanes::load(d + v * width), value);
        Lanes::store(c + v * width, value);
      } else {
        if (adds) value = Lanes::multiply_add(beta, Lanes::load(d + v * width, last), value);
        Lanes::store(c + v * width, value, last);
      }
    }
  }
}

using TileFunction = void (*)(const GemmTile&);
template <int vectors, bool rows_apart, int... i>
constexpr std::array<TileFunction, sizeof...(i)> tiles_of(std::integer_sequence<int, i...>) {
  return {run_tile<i + 1, vectors, rows_apart>...};
}
template <int vectors, bool rows_apart>
constexpr auto tiles = tiles_of<vectors, rows_apart>(std::make_integer_sequence<int, tile_rows>());

void tile(const GemmTile& t) {
  const auto row = static_cast<std::size_t>(t.rows - 1);
  if (t.columns > width) return (t.a_step == 1 ? tiles<2, true> : tiles<2, false>)[row](t);
  (t.a_step == 1 ? tiles<1, true> : tiles<1, false>)[row](t);
}

// `count` vectors along the steps, each `leading` apart, become rows of a panel: squares of width x width
// values are transposed in registers.
template <int stride>
GEMM_TARGET void pack_transposed(const float* x, std::int64_t leading, std::int64_t count, std::int64_t k,
                                 float* packed) {
  for (int first = 0; first < stride; first += width) {
    const int here = static_cast<int>(std::min<std::int64_t>(count - first, width));
    for (std::int64_t p = 0; p < k; p += width) {
      const int steps = static_cast<int>(std::min<std::int64_t>(k - p, width));
      const auto mask = Lanes::mask(steps);
      typename Lanes::Vector square[width];
      for (int i = 0; i < width; ++i) {
        square[i] = i < here ? Lanes::load(x + (first + i) * leading + p, mask) : Lanes::zero();
      }
      Lanes::transpose(square);
      for (int i = 0; i < steps; ++i) Lanes::store(packed + (p + i) * stride + first, square[i]);
    }
  }
}

// Panels whose steps are rows of the matrix as it lies: copied row by row, across all panels.
template <int stride>
GEMM_TARGET void pack_rows(const GemmPanels& g) {
  constexpr int vectors = stride / width, rows_ahead = 8;
  const std::int64_t whole = g.count / g.width, rest = g.count % g.width;
  const auto last = Lanes::mask(g.width - (vectors - 1) * width);
  for (std::int64_t p = 0; p < g.k; ++p) {
    const float* x = g.x + p * g.leading;
    float* packed = g.packed + p * stride;
    for (std::int64_t panel = 0; panel < whole; ++panel, x += g.width, packed += g.k * stride) {
      for (int v = 0; v < vectors; ++v) {
        __builtin_prefetch(x + rows_ahead * g.leading + v * width);
        Lanes::store(packed + v * width,
                     v + 1 < vectors ? Lanes::load(x + v * width) : Lanes::load(x + v * width, last));
      }
    }
    for (int v = 0; rest > 0 && v < vectors; ++v) {
      Lanes::store(packed + v * width, Lanes::load(x + v * width, Lanes::mask(rest - v * width)));
    }
  }
}

template <int stride>
void pack(const GemmPanels& g) {
  if (!g.steps_adjoin) return pack_rows<stride>(g);
  for (std::int64_t first = 0; first < g.count; first += g.width) {
    pack_transposed<stride>(g.x + first * g.leading, g.leading, std::min(g.count - first, g.width), g.k,
                            g.packed + first / g.width * g.k * stride);
  }
}

constexpr GemmKernels kernels{tile_rows, 2 * width,      a_stride,      b_stride, Lanes::rows_without_packing,
                              tile,      pack<a_stride>, pack<b_stride>};

}  // namespace
}  // namespace norma
