#include "autograd/dot.h"

#include <doctest/doctest.h>

#include "autograd/ops.h"
#include "tests/messages.h"

using namespace norma;

TEST_SUITE_BEGIN("graph drawing");

TEST_CASE("the drawing of a small graph, the same each time") {
  const auto draw = [] {
    const Tensor x = ones({2, 3}).set_requires_grad(), weight = ones({3}).set_requires_grad();
    const Tensor y = (x * weight).exp();
    return to_dot((y + x).sum());
  };
  const std::string expected = R"(digraph {
  rankdir = BT
  op0 [shape=ellipse, label="mul\n[2, 3]"]
  leaf0 [shape=box, label="[2, 3]"]
  leaf0 -> op0
  leaf1 [shape=box, label="[3]"]
  leaf1 -> op0
  op1 [shape=ellipse, label="exp\n[2, 3]"]
  op0 -> op1
  op2 [shape=ellipse, label="add\n[2, 3]"]
  op1 -> op2
  leaf0 -> op2
  op3 [shape=ellipse, label="sum\n[1, 1]"]
  op2 -> op3
  op4 [shape=ellipse, label="reshape\n[]"]
  op3 -> op4
}
)";
  CHECK(draw() == expected);
  CHECK(draw() == draw());
}

TEST_CASE("a leaf alone is a box") {
  CHECK(to_dot(ones({2})) == "digraph {\n  rankdir = BT\n  leaf0 [shape=box, label=\"[2]\"]\n}\n");
  CHECK_THROWS_MESSAGE_HAS(to_dot(Tensor()), "to_dot: y is an undefined tensor");
}

TEST_CASE("a graph of 100000 nodes is drawn without recursion") {
  Tensor y = ones({1}).set_requires_grad();
  for (int i = 0; i < 100000; ++i) y = y * 1.0;
  const std::string text = to_dot(y);
  CHECK(text.find("op99999 ") != std::string::npos);
}

TEST_SUITE_END();
