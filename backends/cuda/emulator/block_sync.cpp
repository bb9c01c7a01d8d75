// Barriers, warp operations and the report of those that cannot be completed.
#include <cstring>

#include "backends/cuda/emulator/block.h"
#include "core/check.h"

namespace norma::emulator {
namespace {

bool same_text(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

bool same_site(const Site& a, const Site& b) {
  return a.line == b.line && same_text(a.call, b.call) && same_text(a.file, b.file);
}

BlockRunner& runner(const char* call) {
  BlockRunner* const found = BlockRunner::current();
  if (found == nullptr) throw KernelError(detail::concat(call, " is called outside of a kernel"));
  return *found;
}

std::string hexadecimal(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

std::string extents(uint3 v) { return detail::concat("(", v.x, ", ", v.y, ", ", v.z, ")"); }

// Where a lane stands, in words.
std::string status(const Lane& lane) {
  if (lane.state == State::done) return "finished";
  const Operation& operation = lane.waits_for;
  std::string text = detail::concat("at ", operation.site.call);
  if (lane.state == State::at_warp_operation) text += " with mask " + hexadecimal(operation.mask);
  return detail::concat(text, ", ", operation.site.file, ":", operation.site.line);
}

BlockRunner& checked_runner(unsigned mask, Site site) {
  BlockRunner& found = runner(site.call);
  if ((mask >> lane() & 1u) == 0)
    found.fail(detail::concat(site.call, " at ", site.file, ":", site.line, ": the mask ", hexadecimal(mask),
                              " does not name the calling lane ", lane()));
  return found;
}

}  // namespace

// Completes the operations of the warp that all lanes of their mask have reached; true if there was one.
bool BlockRunner::finish_warp_operations(unsigned warp) {
  Lane* const lanes = lanes_.data() + warp * warp_lanes;
  const unsigned count = lanes_of(warp);
  const unsigned present = count == warp_lanes ? ~0u : (1u << count) - 1u;
  bool any = false;
  for (unsigned i = 0; i < count; ++i)
    if (lanes[i].state == State::at_warp_operation)
      any |= finish_warp_operation(lanes, lanes[i].waits_for.mask & present);
  return any;
}

bool BlockRunner::finish_warp_operation(Lane* lanes, unsigned members) {
  const Operation& first = lanes[std::countr_zero(members)].waits_for;
  std::uint64_t values[warp_lanes];
  unsigned ballot = 0;
  for (unsigned left = members; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    const Operation& operation = lanes[i].waits_for;
    if (lanes[i].state != State::at_warp_operation || operation.mask != first.mask ||
        !same_site(operation.site, first.site))
      return false;
    values[i] = operation.value;
    ballot |= operation.value != 0 ? 1u << i : 0u;
  }
  for (unsigned left = members; left != 0; left &= left - 1) {
    Lane& lane = lanes[std::countr_zero(left)];
    const Operation& operation = lane.waits_for;
    if (operation.is_shuffle)
      lane.result = (members >> operation.source & 1u) != 0 ? values[operation.source] : ~std::uint64_t{0};
    else if (operation.vote == Vote::all)
      lane.result = ballot == members;
    else
      lane.result = ballot;
    lane.state = State::ready;
  }
  return true;
}

// Lets all lanes go on if all are at the same barrier.
bool BlockRunner::finish_block_barrier() {
  const Operation& first = lanes_[0].waits_for;
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < count_; ++i) {
    if (lanes_[i].state != State::at_block_barrier || !same_site(lanes_[i].waits_for.site, first.site))
      return false;
    sum += lanes_[i].waits_for.value;
  }
  const std::uint64_t result = first.vote == Vote::all   ? sum == count_
                               : first.vote == Vote::any ? sum != 0
                                                         : sum;
  for (unsigned i = 0; i < count_; ++i) {
    lanes_[i].result = result;
    lanes_[i].state = State::ready;
  }
  return true;
}

// Lists who waits where; called when nobody can go on.
std::string BlockRunner::stuck() const {
  std::string text =
      detail::concat("kernel ", *name_, ", block ", extents(blockIdx), ": not all threads reach a barrier: ");
  constexpr int most_groups = 12;
  int groups = 0;
  for (unsigned i = 0; i < count_; ++groups) {
    const std::string where = status(lanes_[i]);
    unsigned end = i + 1;
    while (end < count_ && status(lanes_[end]) == where) ++end;
    if (groups == most_groups) return text + "; ...";
    if (groups > 0) text += "; ";
    text += end == i + 1 ? detail::concat("thread ", i) : detail::concat("threads ", i, " to ", end - 1);
    text += (lanes_[i].state == State::done ? " " : end == i + 1 ? " waits " : " wait ") + where;
    i = end;
  }
  return text;
}

void BlockRunner::fail(const std::string& what) const {
  throw KernelError(detail::concat("kernel ", *name_, ", block ", extents(blockIdx), ", thread ",
                                   extents(threadIdx), ": ", what));
}

int block_barrier(Vote vote, bool predicate, Site site) {
  const Operation operation = {site, 0, false, vote, 0, predicate};
  return static_cast<int>(runner(site.call).wait(State::at_block_barrier, operation));
}

unsigned warp_barrier(unsigned mask, Vote vote, bool predicate, Site site) {
  const Operation operation = {site, mask, false, vote, 0, predicate};
  return static_cast<unsigned>(checked_runner(mask, site).wait(State::at_warp_operation, operation));
}

std::uint64_t shuffle(unsigned mask, std::uint64_t value, int source, Site site) {
  const Operation operation = {site, mask, true, Vote::none, source & 31, value};
  return checked_runner(mask, site).wait(State::at_warp_operation, operation);
}

void yield() { runner("a wait").give_way(); }

void trap(Site site) { runner(site.call).fail(detail::concat(site.call, " at ", site.file, ":", site.line)); }

void poison_shared(std::uint64_t& marker) { runner("__shared__").poison_shared_variables(marker); }

void* dynamic_shared() { return runner("NORMA_DYNAMIC_SHARED").shared_memory(); }

}  // namespace norma::emulator
