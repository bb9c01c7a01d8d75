#include "core/recycled.h"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <thread>
#include <vector>

#include "autograd/ops.h"
#include "core/sanitizer.h"

namespace norma {
namespace {

template <int bytes>
struct Small {
  explicit Small(int value_) : value(value_) {}
  int value;
  std::array<char, bytes> rest{};
};

template <int bytes>
void check_recycling() {
  void* before = nullptr;
  {
    const auto one = make_recycled<Small<bytes>>(1), two = make_recycled<Small<bytes>>(2);
    CHECK(one->value + two->value == 3);
    CHECK(static_cast<void*>(one.get()) != static_cast<void*>(two.get()));
    before = one.get();  // freed last
  }
  const auto again = make_recycled<Small<bytes>>(4);
  if (!NORMA_ASAN) CHECK(static_cast<void*>(again.get()) == before);
  CHECK(again->value == 4);
}

TEST_CASE("freed memory of small objects is handed out again") {
  check_recycling<1>();
  check_recycling<60>();
  check_recycling<700>();
}

TEST_CASE("objects too large to be kept, and more than are kept") {
  CHECK(make_recycled<Small<4000>>(5)->value == 5);
  std::vector<std::shared_ptr<Small<700>>> many;
  for (int i = 0; i < 5000; ++i) many.push_back(make_recycled<Small<700>>(i));
  for (int i = 0; i < 5000; ++i) CHECK(many[static_cast<std::size_t>(i)]->value == i);
  many.clear();
  CHECK(make_recycled<Small<700>>(6)->value == 6);
}

TEST_CASE("tensors made in one thread and freed in another, or after the end of the one that made them") {
  std::vector<Tensor> made;
  std::thread([&] {
    for (int i = 0; i < 100; ++i) made.push_back(full({3}, i).set_requires_grad() * 2);
  }).join();
  Tensor total = zeros({3});
  for (const Tensor& x : made) total = total + x;
  std::thread([&] { total.sum().backward(); }).join();
  CHECK(total.to_vector<float>() == std::vector<float>(3, 9900));
  std::thread([rest = std::move(made)]() mutable { rest.clear(); }).join();
  made = {ones({2})};
  CHECK(made[0].sum().item() == 2);
}

struct FreesLate {
  ~FreesLate() { kept.reset(); }
  std::shared_ptr<Small<60>> kept;
};

TEST_CASE("an object that a thread frees after all else of it has ended") {
  std::thread([] {
    static thread_local FreesLate late;  // made before the list is open, so ended after it
    late.kept = make_recycled<Small<60>>(7);
    make_recycled<Small<60>>(8).reset();
    CHECK(late.kept->value == 7);
  }).join();
}

}  // namespace
}  // namespace norma
