// Ops are noted where they are recorded, after their value was computed: `record` gets a finished value. So
// kernels leave spans behind, and the op claims those that wrote into its result. An op that no span belongs
// to (a user's loop) counts from the end of what came before.
#include "core/profile.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "core/check.h"

namespace norma {
namespace {

constexpr std::size_t most_calls = 2'000'000;

std::int64_t now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

Profile::Phase phase_of(detail::SpanKind kind) {
  switch (kind) {
    case detail::SpanKind::forward:
      return Profile::Phase::forward;
    case detail::SpanKind::backward:
      return Profile::Phase::backward;
    case detail::SpanKind::section:
      break;
  }
  return Profile::Phase::section;
}

}  // namespace

class ProfileRecorder {
 public:
  static ProfileRecorder& of_this_thread() {
    thread_local ProfileRecorder recorder;
    return recorder;
  }

  void begin(Profile& profile) {
    settle();
    if (innermost_ == nullptr) {  // spans that are open now were not noted, or belong to an earlier profile
      ++generation_;
      depth_ = 0;
      section_ = nullptr;
    }
    profile.outer_ = innermost_;
    profile.outer_depth_ = std::exchange(depth_, 0);
    innermost_ = &profile;
    detail::profile_recorder = this;
    mark_ = now();
  }

  void end(Profile& profile) {
    settle();
    Profile** place = &innermost_;
    while (*place != nullptr && *place != &profile) place = &(*place)->outer_;
    if (*place == nullptr) return;
    *place = profile.outer_;
    depth_ = profile.outer_depth_;
    if (innermost_ == nullptr) {
      detail::profile_recorder = nullptr;
      ++generation_;
    }
  }

  void enter(detail::ProfileSpan& span) {
    span.entered_ = true;
    span.generation_ = generation_;
    if (span.kind_ == detail::SpanKind::section) {
      if (depth_ == 0) {
        settle();
        span.outer_section_ = std::exchange(section_, &span);
      }
    } else {
      if (span.kind_ == detail::SpanKind::backward && depth_ == 0) settle();
      ++depth_;
    }
    span.start_ = now();
  }

  void leave(detail::ProfileSpan& span) {
    if (span.generation_ != generation_) return;
    const std::int64_t end = now();
    if (span.kind_ != detail::SpanKind::section) --depth_;
    if (depth_ > 0) {
      note({span.name_, phase_of(span.kind_), span.start_, end, span.bytes_}, 0, true);
    } else if (span.kind_ == detail::SpanKind::forward) {
      // Without a result there was no kernel, or it threw.
      if (span.data_ != nullptr) pending_.push_back({span.name_, span.data_, span.start_, end});
    } else if (span.kind_ == detail::SpanKind::backward) {
      note({span.name_, Profile::Phase::backward, span.start_, end, span.bytes_}, end - span.start_);
    } else if (section_ == &span) {
      settle();
      section_ = span.outer_section_;
      note({span.name_, Profile::Phase::section, span.start_, end, span.bytes_},
           end - span.start_ - span.inner_);
      if (section_ != nullptr) section_->inner_ += span.inner_;
    }
    mark_ = end;
  }

  void op(const char* name, const void* data, std::int64_t data_bytes, std::int64_t moved, bool is_view) {
    if (depth_ > 0) return;
    const std::int64_t end = now();
    const char* const first = static_cast<const char*>(data);
    std::int64_t start = end, spent = 0;
    bool claimed = false;
    for (const Pending& p : pending_) {
      const char* const wrote = static_cast<const char*>(p.data);
      if (!is_view && wrote != nullptr && wrote >= first && wrote < first + data_bytes) {
        start = claimed ? start : p.start;
        spent += p.end - p.start;
        claimed = true;
      } else {
        note({p.name, Profile::Phase::forward, p.start, p.end, 0}, p.end - p.start);
      }
    }
    pending_.clear();
    if (!claimed && !is_view) start = mark_, spent = end - mark_;
    note({name, Profile::Phase::forward, start, end, moved}, spent);
    mark_ = end;
  }

  /// Kernels that no op has claimed count by themselves.
  void settle() {
    for (const Pending& p : pending_)
      note({p.name, Profile::Phase::forward, p.start, p.end, 0}, p.end - p.start);
    pending_.clear();
  }

 private:
  struct Pending {
    const char* name;
    const void* data;
    std::int64_t start, end;
  };

  void note(const Profile::Call& call, std::int64_t spent, bool is_inside = false) {
    for (Profile* p = innermost_; p != nullptr; p = p->outer_depth_ > 0 ? nullptr : p->outer_) {
      if (p->keep_trace_ && p->calls_.size() < most_calls) p->calls_.push_back(call);
      if (!is_inside) p->note(call, spent);
    }
    if (section_ != nullptr && !is_inside && innermost_ != nullptr && innermost_->outer_depth_ == 0)
      section_->inner_ += spent;
  }

  Profile* innermost_ = nullptr;
  std::uint64_t generation_ = 0;  // of spans that count
  int depth_ = 0;                 // of open ops
  detail::ProfileSpan* section_ = nullptr;
  std::int64_t mark_ = 0;  // end of what came last
  std::vector<Pending> pending_;
};

namespace detail {

void ProfileSpan::enter() { profile_recorder->enter(*this); }
void ProfileSpan::leave() noexcept { ProfileRecorder::of_this_thread().leave(*this); }

void profile_op(const char* name, const void* data, std::int64_t data_bytes, std::int64_t moved_bytes,
                bool is_view) {
  profile_recorder->op(name, data, data_bytes, moved_bytes, is_view);
}

}  // namespace detail

Profile::Profile(bool keep_trace) : keep_trace_(keep_trace), start_(now()) {
  ProfileRecorder::of_this_thread().begin(*this);
}
Profile::~Profile() { stop(); }

void Profile::stop() {
  if (!running_) return;
  ProfileRecorder::of_this_thread().end(*this);
  running_ = false;
  end_ = now();
}

void Profile::note(const Call& call, std::int64_t nanoseconds) {
  Sum& sum = sums_[{call.name, call.phase}];
  ++sum.calls;
  sum.nanoseconds += nanoseconds;
  sum.bytes += call.bytes;
}

double Profile::seconds() const { return 1e-9 * static_cast<double>((running_ ? now() : end_) - start_); }

std::vector<Profile::Row> Profile::rows() const {
  if (running_) ProfileRecorder::of_this_thread().settle();
  std::vector<Row> rows;
  for (const auto& [key, sum] : sums_) {
    rows.push_back({std::string(key.first), key.second, sum.calls,
                    1e-9 * static_cast<double>(sum.nanoseconds), sum.bytes});
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return rows;
}

namespace {

const char* name_of(Profile::Phase phase) {
  return phase == Profile::Phase::forward    ? "forward"
         : phase == Profile::Phase::backward ? "backward"
                                             : "section";
}

// "12.3 ms", of a number of seconds.
std::string duration(double seconds) {
  char text[32];
  const bool in_seconds = seconds >= 1, in_ms = seconds >= 1e-3;
  std::snprintf(text, sizeof text, "%.4g %s",
                seconds * (in_seconds ? 1
                           : in_ms    ? 1e3
                                      : 1e6),
                in_seconds ? "s"
                : in_ms    ? "ms"
                           : "us");
  return text;
}

std::string quoted(std::string_view name) {
  std::string text = "\"";
  for (const char c : name) {
    const bool is_plain = static_cast<unsigned char>(c) >= ' ' && c != '"' && c != '\\';
    text += is_plain ? std::string(1, c) : c == '"' || c == '\\' ? std::string("\\") + c : std::string(" ");
  }
  return text + '"';
}

}  // namespace

std::string Profile::table() const {
  const double all = seconds();
  const std::vector<Row> sorted = rows();
  double counted = 0;
  char line[256];
  std::snprintf(line, sizeof line, "%-28s %-9s %9s %11s %6s %11s %11s %7s\n", "op", "phase", "calls", "time",
                "share", "each", "bytes", "GB/s");
  std::string text = line;
  for (const Row& row : sorted) {
    counted += row.seconds;
    char traffic[32] = "", rate[32] = "";
    if (row.bytes > 0) {
      std::snprintf(traffic, sizeof traffic, "%.2f MB", 1e-6 * static_cast<double>(row.bytes));
      if (row.seconds > 0)
        std::snprintf(rate, sizeof rate, "%.1f", 1e-9 * static_cast<double>(row.bytes) / row.seconds);
    }
    std::snprintf(line, sizeof line, "%-28.60s %-9s %9lld %11s %5.1f%% %11s %11s %7s\n", row.name.c_str(),
                  name_of(row.phase), static_cast<long long>(row.calls), duration(row.seconds).c_str(),
                  100 * row.seconds / all, duration(row.seconds / static_cast<double>(row.calls)).c_str(),
                  traffic, rate);
    text += line;
  }
  std::snprintf(line, sizeof line, "%-28s %-9s %9s %11s %5.1f%%\n", "(elsewhere)", "", "",
                duration(std::max(0.0, all - counted)).c_str(), 100 * std::max(0.0, all - counted) / all);
  text += line;
  std::snprintf(line, sizeof line, "%-28s %-9s %9s %11s\n", "(all)", "", "", duration(all).c_str());
  return text + line;
}

std::string Profile::trace() const {
  NORMA_CHECK(keep_trace_, "Profile: calls were not kept; make it with keep_trace = true");
  if (running_) ProfileRecorder::of_this_thread().settle();
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  char numbers[160];
  for (const Call& call : calls_) {
    if (text.back() == '}') text += ",\n";
    std::snprintf(numbers, sizeof numbers,
                  ",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,\"args\":{"
                  "\"bytes\":%lld}}",
                  name_of(call.phase), 1e-3 * static_cast<double>(call.start - start_),
                  1e-3 * static_cast<double>(call.end - call.start), static_cast<long long>(call.bytes));
    text += "{\"name\":" + quoted(call.name) + numbers;
  }
  return text + "]}\n";
}

}  // namespace norma
