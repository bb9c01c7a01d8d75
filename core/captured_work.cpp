#include "core/captured_work.h"

#include "core/check.h"

namespace norma {
namespace {

thread_local CapturedWork* capturing = nullptr;

}  // namespace

/// What holds while the body runs. The generator goes back to where it stood.
class CapturedWork::Scope {
 public:
  explicit Scope(CapturedWork* work) : outer_(capturing) {
    capturing = work;
    detail::only_default_generator = true;
  }
  ~Scope() {
    capturing = outer_;
    detail::only_default_generator = outer_ != nullptr;
    default_generator().set_state(start_);
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  std::int64_t drawn() const {
    const RandomKey now = default_generator().state();
    NORMA_CHECK(now.seed == start_.seed && now.offset >= start_.offset,
                "capture: seeding the default generator cannot be part of captured work");
    return static_cast<std::int64_t>(now.offset - start_.offset);
  }

 private:
  CapturedWork* outer_;
  RandomKey start_ = default_generator().state();
};

CapturedWork::CapturedWork(Device device, const std::function<void()>& body) : device_(device) {
  Backend& kernels = backend(device);
  kernels.begin_capture(default_generator().state());
  try {
    memory_ = std::make_unique<MemoryReservation>(device);
    const Scope scope(this);
    body();
    drawn_ = scope.drawn();
  } catch (...) {
    try {
      kernels.end_capture();
    } catch (const Error&) {  // says less than what came first
    }
    throw;
  }
  memory_->close();
  work_ = kernels.end_capture();
}

void CapturedWork::replay() const {
  for (const auto& check : checks_) check();
  for (const auto& action : actions_) action();
  work_->replay(default_generator().advance(drawn_));
}

CapturedWork* CapturedWork::current(Device device) {
  return capturing != nullptr && capturing->device_ == device ? capturing : nullptr;
}

void CapturedWork::before_replay(std::function<void()> action, std::function<void()> check) {
  actions_.push_back(std::move(action));
  if (check) checks_.push_back(std::move(check));
}

}  // namespace norma
