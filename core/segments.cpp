#include "core/segments.h"

#include <iterator>
#include <new>

namespace norma {

void Segments::add(void* data, std::int64_t bytes) {
  fresh_ = static_cast<char*>(data);
  fresh_end_ = fresh_ + bytes;
  starts_segment_ = true;
}

void Segments::add_whole(void* data, std::int64_t bytes) {
  pieces_.emplace(static_cast<char*>(data), Piece{bytes, false, true});
}

void* Segments::take_fresh(std::int64_t bytes) {
  if (fresh_end_ - fresh_ < bytes) return nullptr;
  char* const data = fresh_;
  pieces_.emplace(data, Piece{bytes, false, starts_segment_});
  starts_segment_ = false;
  fresh_ += bytes;
  return data;
}

void* Segments::take(std::int64_t bytes) {
  const auto fit = free_.lower_bound({bytes, nullptr});
  if (fit == free_.end()) return nullptr;
  const Place piece = pieces_.find(fit->second);
  if (const std::int64_t rest = piece->second.bytes - bytes; rest > 0) {
    // Noted before anything changes: either call may throw for lack of memory.
    free_.emplace(rest, piece->first + bytes);
    pieces_.emplace_hint(std::next(piece), piece->first + bytes, Piece{rest, true, false});
  }
  take(piece);
  piece->second.bytes = bytes;
  return piece->first;
}

void* Segments::take_whole(std::int64_t& bytes) {
  const auto fit = free_.lower_bound({bytes, nullptr});
  if (fit == free_.end() || fit->first - bytes >= bytes) return nullptr;
  bytes = fit->first;
  const Place piece = pieces_.find(fit->second);
  take(piece);
  return piece->first;
}

bool Segments::take_at(void* data, std::int64_t bytes) {
  const Place piece = pieces_.find(static_cast<char*>(data));
  if (piece == pieces_.end() || !piece->second.free || piece->second.bytes != bytes) return false;
  take(piece);
  return true;
}

void Segments::take(Place piece) {
  free_.erase({piece->second.bytes, piece->first});
  piece->second.free = false;
}

bool Segments::is_last(Place piece) const {
  const auto next = std::next(piece);
  return next == pieces_.end() || next->second.first;
}

void Segments::join_next(Place piece) {
  const Place next = std::next(piece);
  piece->second.bytes += next->second.bytes;
  pieces_.erase(next);
}

bool Segments::give_back(void* data, bool join) noexcept {
  Place piece = pieces_.find(static_cast<char*>(data));
  if (join && !is_last(piece) && std::next(piece)->second.free) {
    take(std::next(piece));
    join_next(piece);
  }
  if (join && !piece->second.first && std::prev(piece)->second.free) {
    --piece;
    take(piece);
    join_next(piece);
  }
  try {
    free_.emplace(piece->second.bytes, piece->first);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return piece->second.free = true;
}

void Segments::remove_free(const std::function<void(void*, std::int64_t)>& release) {
  for (Place piece = pieces_.begin(); piece != pieces_.end();) {
    const auto [data, state] = *piece;
    const bool whole = state.free && state.first && is_last(piece);
    if (!whole) {
      ++piece;
      continue;
    }
    free_.erase({state.bytes, data});
    piece = pieces_.erase(piece);
    if (data + state.bytes == fresh_) fresh_ = fresh_end_ = nullptr;
    release(data, state.bytes);
  }
}

}  // namespace norma
