// The block of bf16_kernels.h over the operations of a tile unit. Included by a file that has defined, in
// this order: TILE_TARGET (the attribute that lets a function use the unit), and inside this namespace the
// struct Tiles: eight tiles by number, zero<t>(), load<t>(address, bytes from row to row), store<t>(..), and
// multiply<c, a, b>(): tile c += tile a times tile b.
namespace norma {
namespace {

// Tiles 0 to 3 are c, 4 and 5 rows of a, 6 and 7 columns of b.
template <int rows, int columns>
struct Block {
  TILE_TARGET static void zero() {
    Tiles::zero<0>();
    if constexpr (columns > 1) Tiles::zero<1>();
    if constexpr (rows > 1) Tiles::zero<2>();
    if constexpr (rows > 1 && columns > 1) Tiles::zero<3>();
  }
  TILE_TARGET static void load_c(const float* c, std::int64_t row) {
    const std::int64_t bytes = row * 4;
    Tiles::load<0>(c, bytes);
    if constexpr (columns > 1) Tiles::load<1>(c + 16, bytes);
    if constexpr (rows > 1) Tiles::load<2>(c + 16 * row, bytes);
    if constexpr (rows > 1 && columns > 1) Tiles::load<3>(c + 16 * row + 16, bytes);
  }
  TILE_TARGET static void store_c(float* c, std::int64_t row) {
    const std::int64_t bytes = row * 4;
    Tiles::store<0>(c, bytes);
    if constexpr (columns > 1) Tiles::store<1>(c + 16, bytes);
    if constexpr (rows > 1) Tiles::store<2>(c + 16 * row, bytes);
    if constexpr (rows > 1 && columns > 1) Tiles::store<3>(c + 16 * row + 16, bytes);
  }
  TILE_TARGET static void load_a(const Bf16* a, int part) {
    Tiles::load<4>(a + part * rows * bf16_tile, 64);
    if constexpr (rows > 1) Tiles::load<5>(a + (part * rows + 1) * bf16_tile, 64);
  }
  TILE_TARGET static void load_b(const Bf16* b, int part) {
    Tiles::load<6>(b + part * columns * bf16_tile, 64);
    if constexpr (columns > 1) Tiles::load<7>(b + (part * columns + 1) * bf16_tile, 64);
  }
  TILE_TARGET static void multiply() {
    Tiles::multiply<0, 4, 6>();
    if constexpr (columns > 1) Tiles::multiply<1, 4, 7>();
    if constexpr (rows > 1) Tiles::multiply<2, 5, 6>();
    if constexpr (rows > 1 && columns > 1) Tiles::multiply<3, 5, 7>();
  }

  /// The products of one step, in an order that loads few tiles anew.
  template <int parts>
  TILE_TARGET static void step(const Bf16* a, const Bf16* b) {
    if constexpr (parts == 1) {
      load_a(a, 0), load_b(b, 0), multiply();
    } else if constexpr (parts == 2) {
      load_a(a, 1), load_b(b, 0), multiply();
      load_a(a, 0), multiply();
      load_b(b, 1), multiply();
    } else {
      load_a(a, 2), load_b(b, 0), multiply();
      load_a(a, 1), multiply();
      load_b(b, 1), multiply();
      load_a(a, 0), multiply();
      load_b(b, 2), multiply();
      load_b(b, 0), multiply();
    }
  }

  template <int parts>
  TILE_TARGET static void run(const Bf16Block& t) {
    t.d != nullptr ? load_c(t.d, t.d_row) : zero();
    const Bf16 *a = t.a, *b = t.b;
    const std::int64_t at_once = (31 + t.steps) / t.steps;  // of the 32 rows to be fetched
    const float* next = t.next;
    std::int64_t left = 32;
    for (std::int64_t p = 0; p < t.steps; ++p) {
      for (std::int64_t i = std::min(at_once, left); i > 0; --i, --left, next += t.c_row)
        __builtin_prefetch(next, 1), __builtin_prefetch(next + 16, 1);
      step<parts>(a, b);
      a += parts * rows * bf16_tile, b += parts * columns * bf16_tile;
    }
    store_c(t.c, t.c_row);
  }
};

template <int parts>
void block(const Bf16Block& t) {
  if (t.rows > 1) return t.columns > 1 ? Block<2, 2>::run<parts>(t) : Block<2, 1>::run<parts>(t);
  t.columns > 1 ? Block<1, 2>::run<parts>(t) : Block<1, 1>::run<parts>(t);
}

}  // namespace
}  // namespace norma
