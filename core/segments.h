// Segments: large stretches of address space from the system, cut into pieces as they are asked for. Pieces
// are taken where something was free before, else from the untouched rest of the newest segment.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>

namespace norma {

class Segments {
 public:
  /// A new segment, whose memory is cut by take_fresh. The untouched rest of the one before is forgotten: it
  /// was never more than address space.
  void add(void* data, std::int64_t bytes);
  /// A new segment that is one piece, taken.
  void add_whole(void* data, std::int64_t bytes);

  /// The smallest free piece of at least `bytes`, cut to them; nullptr when there is none.
  void* take(std::int64_t bytes);
  /// Untouched memory of the newest segment; nullptr when it has less.
  void* take_fresh(std::int64_t bytes);
  /// The smallest free piece of at least `bytes` and less than twice as many, uncut; `bytes` becomes its
  /// size.
  void* take_whole(std::int64_t& bytes);
  /// This free piece; false when it is not free, or of another size.
  bool take_at(void* data, std::int64_t bytes);

  /// Gives a piece back; `join`: it becomes one with its free neighbours. False when there is no memory left
  /// to note that it is free: it stays taken.
  bool give_back(void* data, bool join) noexcept;

  /// Forgets each segment of which nothing is taken, and hands it to `release` with the bytes of its pieces.
  void remove_free(const std::function<void(void* segment, std::int64_t bytes)>& release);

 private:
  struct Piece {
    std::int64_t bytes;
    bool free, first;  // first: its segment starts here
  };
  using Place = std::map<char*, Piece>::iterator;
  void take(Place piece);
  void join_next(Place piece);
  bool is_last(Place piece) const;

  std::map<char*, Piece> pieces_;                  // by address
  std::set<std::pair<std::int64_t, char*>> free_;  // by size, then by address
  char *fresh_ = nullptr, *fresh_end_ = nullptr;   // untouched memory of the newest segment
  bool starts_segment_ = false;                    // nothing was cut from it yet
};

}  // namespace norma
