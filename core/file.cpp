#include "core/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "core/check.h"

namespace norma {
namespace {

constexpr std::int64_t largest_request = 1 << 30;  // bytes; Linux moves at most 2 GiB in one call

std::string cause(int error) { return std::generic_category().message(error); }

// Closes a descriptor at the end of a scope, unless it is -1.
struct Closer {
  int file;
  ~Closer() {
    if (file >= 0) ::close(file);
  }
};

// The file that a path of symbolic links leads to; the path itself where there is none yet.
std::string resolved(const std::string& path) {
  char* const real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return path;
  std::string out = real;
  std::free(real);
  return out;
}

bool is_special(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

// Makes a rename last through a power cut. A file system that cannot do this is not a reason to fail.
void sync_folder_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

}  // namespace

InputFile::InputFile(const std::string& path)
    : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // a pipe must not block
  NORMA_CHECK(file_ >= 0, "read ", path, ": ", cause(errno));
  Closer closer{file_};
  struct stat status;
  NORMA_CHECK(::fstat(file_, &status) == 0, "read ", path, ": ", cause(errno));
  NORMA_CHECK(S_ISREG(status.st_mode), "read ", path, ": not a regular file");
  size_ = status.st_size;
  closer.file = -1;  // from here on the destructor closes it
}

InputFile::~InputFile() { ::close(file_); }

void InputFile::read(std::int64_t begin, void* out, std::int64_t bytes) const {
  char* next = static_cast<char*>(out);
  while (bytes > 0) {
    const auto got = ::pread(file_, next, static_cast<std::size_t>(std::min(bytes, largest_request)), begin);
    if (got < 0 && errno == EINTR) continue;
    NORMA_CHECK(got >= 0, "read ", path_, ": ", cause(errno));
    NORMA_CHECK(got > 0, "read ", path_, ": the file shrank while it was read");
    next += got, begin += got, bytes -= got;
  }
}

std::string read_file(const std::string& path, std::int64_t max_bytes) {
  const InputFile file(path);
  NORMA_CHECK(file.size() <= max_bytes, "read ", path, ": ", file.size(), " bytes are more than ", max_bytes);
  std::string out(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, out.data(), file.size());
  return out;
}

AtomicFile::AtomicFile(const std::string& path) : path_(resolved(path)) {
  if (!is_special(path_)) temporary_ = path_ + ".tmp";
  const std::string& target = temporary_.empty() ? path_ : temporary_;
  file_ = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  NORMA_CHECK(file_ >= 0, "write ", target, ": ", cause(errno));
}

AtomicFile::~AtomicFile() {
  if (file_ >= 0) ::close(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::int64_t bytes) {
  NORMA_CHECK(file_ >= 0, "write ", path_, ": already committed");
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const auto written = ::write(file_, next, static_cast<std::size_t>(std::min(bytes, largest_request)));
    if (written < 0 && errno == EINTR) continue;
    NORMA_CHECK(written >= 0, "write ", path_, ": ", cause(errno));
    next += written;
    bytes -= written;
  }
}

void AtomicFile::commit() {
  NORMA_CHECK(file_ >= 0, "write ", path_, ": already committed");
  if (!temporary_.empty()) NORMA_CHECK(::fsync(file_) == 0, "write ", path_, ": ", cause(errno));
  NORMA_CHECK(::close(std::exchange(file_, -1)) == 0, "write ", path_, ": ", cause(errno));
  if (temporary_.empty()) return;
  NORMA_CHECK(::rename(temporary_.c_str(), path_.c_str()) == 0, "write ", path_, ": ", cause(errno));
  temporary_.clear();
  sync_folder_of(path_);
}

}  // namespace norma
