// Files that may be compressed with gzip (RFC 1952), told by their first two bytes, not by their name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace norma::models {

bool is_gzip(std::string_view bytes);

/// Reads the contents of a file from its bytes, piece by piece, so that a small file that claims or unpacks
/// to something huge costs no more memory than the reader asked for. Members of a gzip file follow each other
/// as one text.
class Unpacked {
 public:
  /// Holds on to the bytes, not to a copy. `name` stands for the file in messages.
  Unpacked(std::string_view bytes, std::string name);
  Unpacked(std::string&& bytes, std::string name) = delete;
  ~Unpacked();
  Unpacked(const Unpacked&) = delete;
  Unpacked& operator=(const Unpacked&) = delete;

  /// The next `count` bytes, fewer only where the contents end. Memory grows with what is there, not with
  /// `count`. Throws Error naming the file when the compressed data is damaged or cut short.
  std::string read(std::int64_t count);

 private:
  struct Stream;
  std::string_view rest_;  // not read yet; of the compressed bytes, when they are
  std::string name_;
  std::unique_ptr<Stream> stream_;  // null for a plain file
};

}  // namespace norma::models
