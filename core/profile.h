// Profile: where the time of a program goes, op by op, forward and backward.
//
//   Profile profile;
//   cross_entropy(model(x), targets).backward();
//   std::fputs(profile.table().c_str(), stdout);
//
// Without a Profile alive, an op pays one branch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace norma {

/// Notes the ops of this thread from here to the end of the scope, or to stop(). Profiles may lie inside each
/// other: each sees all that happens while it lives, but one that starts within an op (in a hook) keeps what
/// it sees from those around it, for which that op is one.
class Profile {
 public:
  /// section: the work of a ProfileSection outside of its ops.
  enum class Phase : std::uint8_t { forward, backward, section };
  struct Row {
    std::string name;
    Phase phase = Phase::forward;
    std::int64_t calls = 0;
    double seconds = 0;
    /// Of the inputs and the result; backward of the gradients that came and went. What must be moved at
    /// least.
    std::int64_t bytes = 0;
  };

  /// keep_trace: also keep each call, for trace(); the first two million.
  explicit Profile(bool keep_trace = false);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  void stop();
  /// From the start to stop(), or to now.
  double seconds() const;
  /// One for each op and phase, longest first. An op inside an op counts as part of it.
  std::vector<Row> rows() const;
  /// For people: the rows, with their share of seconds() and what is left over.
  std::string table() const;
  /// Every call as JSON in Chrome's trace format (chrome://tracing, ui.perfetto.dev), ops inside ops too.
  /// Throws Error without keep_trace.
  std::string trace() const;

 private:
  friend class ProfileRecorder;
  struct Call {
    const char* name;
    Phase phase;
    std::int64_t start, end, bytes;  // times in ns
  };
  struct Sum {
    std::int64_t calls = 0, nanoseconds = 0, bytes = 0;
  };
  void note(const Call& call, std::int64_t nanoseconds);

  std::map<std::pair<std::string_view, Phase>, Sum> sums_;
  std::vector<Call> calls_;
  bool keep_trace_, running_ = true;
  std::int64_t start_, end_ = 0;
  int outer_depth_ = 0;  // of ops that it started in
  Profile* outer_ = nullptr;
};

class ProfileRecorder;

namespace detail {

/// The recorder of this thread while a Profile lives, else null.
inline constinit thread_local ProfileRecorder* profile_recorder = nullptr;

enum class SpanKind : std::uint8_t { forward, backward, section };

/// Times a stretch of the library's own work. A forward one becomes the op that is recorded with what it
/// wrote.
class ProfileSpan {
 public:
  ProfileSpan(SpanKind kind, const char* name) : kind_(kind), name_(name) {
    if (profile_recorder != nullptr) [[unlikely]]
      enter();
  }
  /// A kernel that fills y, an Array.
  template <class Output>
  ProfileSpan(const char* kernel, const Output& y) : ProfileSpan(SpanKind::forward, kernel) {
    if (entered_) [[unlikely]]
      data_ = y.view().data;
  }
  ~ProfileSpan() {
    if (entered_) [[unlikely]]
      leave();
  }
  ProfileSpan(const ProfileSpan&) = delete;
  ProfileSpan& operator=(const ProfileSpan&) = delete;
  bool is_noted() const { return entered_; }
  void wrote(const void* data) { data_ = data; }
  void moved(std::int64_t bytes) { bytes_ = bytes; }

 private:
  friend class norma::ProfileRecorder;
  void enter();
  void leave() noexcept;

  SpanKind kind_;
  bool entered_ = false;
  std::uint64_t generation_ = 0;
  const char* name_;
  const void* data_ = nullptr;
  std::int64_t bytes_ = 0, start_ = 0;
  std::int64_t inner_ = 0;  // ns of the ops and sections in a section
  ProfileSpan* outer_section_ = nullptr;
};

/// An op is done: `data` holds its result of `data_bytes` bytes. A view has taken no time.
void profile_op(const char* name, const void* data, std::int64_t data_bytes, std::int64_t moved_bytes,
                bool is_view);

}  // namespace detail

/// Names a part of a program: in the table with the time it spends outside of ops, in the trace as a whole.
/// `name` must outlive the profile (a string literal).
class ProfileSection {
 public:
  explicit ProfileSection(const char* name) : span_(detail::SpanKind::section, name) {}

 private:
  detail::ProfileSpan span_;
};

}  // namespace norma
