// Whole files: read into memory (never mapped: a file cut by someone else would then kill the process), and
// written so that a reader sees the old file or the new one, never half of one.
#pragma once

#include <cstdint>
#include <string>

namespace norma {

/// A regular file, open for reading. Failures throw Error naming the path and the cause.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// In bytes, when it was opened.
  std::int64_t size() const { return size_; }
  /// Bytes [begin, begin + bytes), which must be there. Several threads may read at once.
  void read(std::int64_t begin, void* out, std::int64_t bytes) const;

 private:
  std::string path_;
  int file_;
  std::int64_t size_ = 0;
};

/// Contents of a regular file. Throws Error naming the path when it cannot be read, is no regular file, or is
/// larger than max_bytes.
std::string read_file(const std::string& path, std::int64_t max_bytes = INT64_MAX);

/// Writes `path`.tmp in the same folder; commit() flushes it to the disk and renames it to `path`. Without
/// commit, or when anything fails, the temporary file is removed and `path` stays as it was. A path that is a
/// device or a pipe is written directly. All failures throw Error naming the path and the cause.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::int64_t bytes);
  void write(const std::string& text) { write(text.data(), static_cast<std::int64_t>(text.size())); }
  void commit();

 private:
  std::string path_;       // with symbolic links followed
  std::string temporary_;  // empty when path_ is written directly
  int file_ = -1;          // descriptor; -1 once closed
};

}  // namespace norma
