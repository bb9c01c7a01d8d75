// Expected texts are those of NumPy with set_printoptions(precision=4).
#include <cmath>

#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

namespace {

template <class T>
std::string printed(const std::vector<T>& values, const Shape& shape) {
  return Array::from(values, shape).to_string();
}

std::string printed(const std::vector<float>& values) {
  return printed(values, {static_cast<std::int64_t>(values.size())});
}

}  // namespace

TEST_CASE("floats share one format, points aligned") {
  CHECK(printed({1, 2.5f, -3}) == "[ 1.   2.5 -3. ]");
  CHECK(printed({0.1f, 0.12345f, 50}) == "[ 0.1     0.1235 50.    ]");  // 0.12345f lies above 0.12345
  CHECK(printed({0.1f, 0.2f}) == "[0.1 0.2]");
  CHECK(printed({1.f / 3, 2.f / 3}) == "[0.3333 0.6667]");
  CHECK(printed({0, 0}) == "[0. 0.]");
  CHECK(printed({-0.f, 1}) == "[-0.  1.]");
  CHECK(printed({10, 200}) == "[ 10. 200.]");
  CHECK(printed({0.99999f, 1}) == "[1. 1.]");
}

TEST_CASE("floats of wide range are printed in scientific notation") {
  CHECK(printed({1e-5f, 1}) == "[1.e-05 1.e+00]");
  CHECK(printed({1, 1001}) == "[1.000e+00 1.001e+03]");
  CHECK(printed({1, 1000}) == "[   1. 1000.]");
  CHECK(printed({1e8f, 2e8f}) == "[1.e+08 2.e+08]");
  CHECK(printed({123456.789f, 0}) == "[123456.79      0.  ]");
  CHECK(printed({-1.23456e-7f, 0}) == "[-1.2346e-07  0.0000e+00]");
  CHECK(printed<double>({1e300, 1e-300}, {2}) == "[1.e+300 1.e-300]");
  CHECK(printed<double>({1e300, 1}, {2}) == "[1.e+300 1.e+000]");
}

TEST_CASE("what is not finite is aligned with the rest") {
  CHECK(printed({NAN, 1, INFINITY}) == "[nan  1. inf]");
  CHECK(printed({NAN, 1.5f, -INFINITY}) == "[ nan  1.5 -inf]");
  CHECK(printed({NAN}) == "[nan]");
  CHECK(printed({NAN, 1e-6f}) == "[   nan 1.e-06]");
}

TEST_CASE("integers and truth values are aligned") {
  CHECK(printed<std::int64_t>({1, -20, 300}, {3}) == "[  1 -20 300]");
  CHECK(printed<std::int64_t>({INT64_MIN, INT64_MAX}, {2}) == "[-9223372036854775808  9223372036854775807]");
  CHECK(printed<bool>({true, false}, {2}) == "[ True False]");
  CHECK(printed<bool>({true, true}, {2}) == "[ True  True]");
}

TEST_CASE("scalars and empty arrays") {
  CHECK(Array::full({}, 2.5).to_string() == "2.5");
  CHECK(Array::full({}, 3).to_string() == "3.");
  CHECK(Array::full({}, 3, i64).to_string() == "3");
  CHECK(Array::full({}, 1, boolean).to_string() == "True");
  CHECK(Array::empty({0}).to_string() == "[]");
  CHECK(Array::empty({0, 3}).to_string() == "[], shape=(0, 3)");
}

TEST_CASE("axes nest, with a blank line between matrices") {
  CHECK(counting({2, 3}).to_string() == "[[0 1 2]\n [3 4 5]]");
  CHECK(counting({2, 3}).transpose(0, 1).to_string() == "[[0 3]\n [1 4]\n [2 5]]");
  CHECK(counting({2, 2, 2}).to_string() == "[[[0 1]\n  [2 3]]\n\n [[4 5]\n  [6 7]]]");
  CHECK(counting({2, 1, 1, 2}).to_string() == "[[[[0 1]]]\n\n\n [[[2 3]]]]");
  CHECK(counting({2, 3}, f32, reference).to_string() == "[[0. 1. 2.]\n [3. 4. 5.]]");
}

TEST_CASE("long lines are broken at 75 characters") {
  CHECK(counting({30}).to_string() ==
        "[ 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23\n"
        " 24 25 26 27 28 29]");
  CHECK(counting({1, 30}).to_string() ==
        "[[ 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23\n"
        "  24 25 26 27 28 29]]");
}

TEST_CASE("above 1000 elements the middle of long axes is left out") {
  CHECK(counting({1000}).to_string().find("...") == std::string::npos);
  CHECK(counting({1001}).to_string() == "[   0    1    2 ...  998  999 1000]");
  CHECK(counting({40, 40}).to_string() ==
        "[[   0    1    2 ...   37   38   39]\n"
        " [  40   41   42 ...   77   78   79]\n"
        " [  80   81   82 ...  117  118  119]\n"
        " ...\n"
        " [1480 1481 1482 ... 1517 1518 1519]\n"
        " [1520 1521 1522 ... 1557 1558 1559]\n"
        " [1560 1561 1562 ... 1597 1598 1599]]");
  CHECK(counting({2, 1000}, i64).to_string() ==
        "[[   0    1    2 ...  997  998  999]\n [1000 1001 1002 ... 1997 1998 1999]]");
  // An element that is not shown does not set the format.
  const Array x = Array::ones({1001});
  x.slice(0, {500, 501}).fill(1e20);
  CHECK(x.to_string() == "[1. 1. 1. ... 1. 1. 1.]");
  CHECK(Array::ones({1}).expand({std::int64_t{1} << 40}).to_string() == "[1. 1. 1. ... 1. 1. 1.]");
}
