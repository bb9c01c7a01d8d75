#include "models/data/gzip.h"

#include <zlib.h>

#include <algorithm>

#include "core/check.h"

namespace norma::models {
namespace {

constexpr std::int64_t piece = 1 << 16;        // bytes unpacked at once
constexpr std::size_t most_input = 1U << 30U;  // bytes handed over at once; zlib counts in 32 bits
constexpr int gzip_only = 15 + 16;             // zlib's code: the largest window, a gzip header

}  // namespace

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

struct Unpacked::Stream {
  z_stream state{};
  bool at_end = false;  // of all members

  Stream() { NORMA_CHECK(inflateInit2(&state, gzip_only) == Z_OK, "gzip: no memory to unpack with"); }
  ~Stream() { inflateEnd(&state); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Fills `out` from `input` as far as it goes and takes what it used off the input; the number of bytes
  // written.
  std::size_t fill(char* out, std::size_t room, std::string_view& input, const std::string& name) {
    const std::size_t given = std::min(input.size(), most_input);
    state.next_in = reinterpret_cast<z_const Bytef*>(const_cast<char*>(input.data()));
    state.avail_in = static_cast<uInt>(given);
    state.next_out = reinterpret_cast<Bytef*>(out);
    state.avail_out = static_cast<uInt>(room);
    const int code = inflate(&state, Z_NO_FLUSH);
    input.remove_prefix(given - state.avail_in);
    NORMA_CHECK(code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR, name,
                ": damaged gzip data: ", state.msg != nullptr ? state.msg : zError(code));
    const std::size_t written = room - state.avail_out;
    if (code == Z_STREAM_END) {
      at_end = input.empty();
      NORMA_CHECK(at_end || is_gzip(input), name, ": ", input.size(), " bytes follow the gzip data");
      if (!at_end) inflateReset(&state);
    } else {
      NORMA_CHECK(written > 0 || !input.empty(), name, ": the gzip data is cut short");
    }
    return written;
  }
};

Unpacked::Unpacked(std::string_view bytes, std::string name)
    : rest_(bytes), name_(std::move(name)), stream_(is_gzip(bytes) ? std::make_unique<Stream>() : nullptr) {}
Unpacked::~Unpacked() = default;

std::string Unpacked::read(std::int64_t count) {
  if (stream_ == nullptr) {
    std::string out(rest_.substr(0, static_cast<std::size_t>(count)));
    rest_.remove_prefix(out.size());
    return out;
  }
  std::string out;
  while (static_cast<std::int64_t>(out.size()) < count && !stream_->at_end) {
    const std::size_t done = out.size();
    const auto room = static_cast<std::size_t>(std::min(piece, count - static_cast<std::int64_t>(done)));
    out.resize(done + room);
    out.resize(done + stream_->fill(out.data() + done, room, rest_, name_));
  }
  return out;
}

}  // namespace norma::models
