#include "core/npy.h"

#include <clocale>
#include <locale>

#include "core/file.h"
#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

namespace {

// A file of the given version whose header says its own length unless told otherwise.
std::string npy(const std::string& dict, const std::string& elements, int version = 1,
                std::int64_t length = -1) {
  const auto stated =
      static_cast<std::uint64_t>(length < 0 ? static_cast<std::int64_t>(dict.size()) : length);
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  for (int byte = 0; byte < (version == 1 ? 2 : 4); ++byte)
    out += static_cast<char>(stated >> (8 * byte) & 0xff);
  return out + dict + elements;
}

std::string dict(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

Array load(const std::string& bytes) {
  const TemporaryFolder folder;
  AtomicFile file(folder.path("x.npy"));
  file.write(bytes);
  file.commit();
  return load_npy(folder.path("x.npy"));
}

std::string refused(const std::string& bytes) {
  const std::string message = message_of([&] { load(bytes); });
  CHECK(contains(message, "load_npy "));
  CHECK(contains(message, "x.npy"));
  return message;
}

const std::string three_floats("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 12);  // 1, 2, 3

}  // namespace

TEST_CASE("arrays of every dtype and rank survive a file") {
  const TemporaryFolder folder;
  const std::string path = folder.path("x.npy");
  for (const DType dtype : {f32, f64, i64, boolean}) {
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{1}, Shape{2, 3, 4}, Shape{0, 5}, Shape{0}}) {
      const Array x = counting(shape, dtype);
      save_npy(path, x);
      const Array y = load_npy(path);
      CHECK(y.dtype() == dtype);
      CHECK(y.shape() == shape);
      CHECK(y.to(f64).to_vector<double>() == x.to(f64).to_vector<double>());
    }
  }
  save_npy(path, counting({2, 3}, i64, reference).transpose(0, 1));
  CHECK(integers(load_npy(path)) == Integers{0, 3, 1, 4, 2, 5});
  CHECK(folder.count() == 1);
  CHECK_THROWS_AS(save_npy(path, Array()), Error);
}

TEST_CASE("the file written is the one NumPy writes") {
  const TemporaryFolder folder;
  save_npy(folder.path("x.npy"), Array::from(std::vector<float>{1, 2, 3}, {3}));
  const std::string bytes = read_file(folder.path("x.npy"));
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  header.resize(117, ' ');
  CHECK(bytes == npy(header + '\n', three_floats));
  save_npy(folder.path("x.npy"), Array::zeros({2, 3, 4}));
  CHECK(contains(read_file(folder.path("x.npy")), "'shape': (2, 3, 4), }"));
  save_npy(folder.path("x.npy"), Array::zeros({}));
  CHECK(contains(read_file(folder.path("x.npy")), "'shape': (), }"));
}

// numpy.save("python.npy", (numpy.arange(6, dtype="<f4").reshape(2, 3) - 2) * 0.375)
TEST_CASE("R122 a file of NumPy is read, and written again byte by byte") {
  const Array x = load_npy("tests/fixtures/python.npy");
  CHECK(x.shape() == Shape{2, 3});
  CHECK(x.to_vector<float>() == std::vector<float>{-0.75f, -0.375f, 0, 0.375f, 0.75f, 1.125f});
  const TemporaryFolder folder;
  save_npy(folder.path("x.npy"), x);
  CHECK(read_file(folder.path("x.npy")) == read_file("tests/fixtures/python.npy"));
}

TEST_CASE("R115 versions 1, 2 and 3 are read") {
  for (const int version : {1, 2, 3}) {
    CHECK(load(npy(dict("<f4", "(3,)"), three_floats, version)).to_vector<float>() ==
          std::vector<float>{1, 2, 3});
  }
  for (const int version : {0, 4, 255})
    CHECK(contains(refused(npy(dict("<f4", "(3,)"), three_floats, version)), "version"));
}

TEST_CASE("R115 scalars, keys in any order, either quote and Fortran order are read") {
  CHECK(load(npy(dict("<f4", "()"), three_floats.substr(0, 4))).item() == 1);
  CHECK(load(npy("{\"shape\":(3,),\"fortran_order\":False,\"descr\":\"<f4\"}", three_floats)).at({2}) == 3);
  std::string bytes(6 * 8, '\0');
  for (int i = 0; i < 6; ++i) bytes[static_cast<std::size_t>(8 * i)] = static_cast<char>(i);
  const Array x = load(npy(dict("<i8", "(2, 3)", "True"), bytes));
  CHECK(x.is_contiguous());
  CHECK(integers(x) == Integers{0, 2, 4, 1, 3, 5});  // columns first
  CHECK(integers(load(npy(dict("<i8", "(3, 1, 2)", "True"), bytes))) == Integers{0, 3, 1, 4, 2, 5});
}

TEST_CASE("32-bit integers are widened, and any byte but 0 is true") {
  CHECK(integers(load(npy(dict("<i4", "(2,)"), std::string("\xff\xff\xff\xff\x02\0\0\0", 8)))) ==
        Integers{-1, 2});
  CHECK(load(npy(dict("|b1", "(3,)"), std::string("\0\1\2", 3))).to_vector<bool>() ==
        std::vector<bool>{false, true, true});
}

TEST_CASE("R115 object, big-endian and unknown dtypes throw, and are named") {
  for (const std::string descr : {"|O", "<O", ">f4", ">i8", "<f2", "<u1", "|u1", "<c8", "<U5", "|S3",
                                  "<f9999999999999", "<fx", "f4", "", "<"}) {
    CHECK(contains(refused(npy(dict(descr, "(3,)"), three_floats)), "'" + descr + "'"));
  }
  CHECK(
      contains(refused(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", three_floats)),
               "structured"));
}

TEST_CASE("R115 a wrong magic, a missing, repeated or unknown key throws") {
  refused("");
  refused("\x93NUMP");
  refused("PK\x03\x04 and so on");
  refused(npy("{'descr': '<f4', 'fortran_order': False}", three_floats));
  refused(npy("{'descr': '<f4', 'shape': (3,)}", three_floats));
  refused(npy("{'fortran_order': False, 'shape': (3,)}", three_floats));
  refused(npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", three_floats));
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}", three_floats));
  refused(npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}", three_floats));
  refused(npy(dict("<f4", "(3,)") + "x", three_floats));
  refused(npy("", ""));
  refused(npy("{'descr", ""));
}

TEST_CASE("R116 a header that goes beyond the file throws") {
  const std::string header = dict("<f4", "(3,)");
  refused(npy(header, "", 1, 65535));
  refused(npy("", "", 2, 0xffffffff));
  refused(npy("", "", 2, 0xfffffff0));
  refused(npy("", "", 2).substr(0, 11));
}

TEST_CASE("R116 shapes that overflow, are negative, too long or no numbers throw") {
  for (const std::string shape :
       {"(1099511627776, 1099511627776)", "(4611686018427387904,)", "(9223372036854775808,)",
        "(99999999999999999999999999,)", "(-3,)", "(3)", "(,)", "(3 3)", "(3.0,)", "(0x3,)", "(a,)", "3",
        "(3,", "[3]", "(1,1,1,1,1,1,1,1,3)", "(3,,)", "(+3,)"}) {
    CAPTURE(shape);
    refused(npy(dict("<f4", shape), three_floats));
  }
  CHECK(contains(refused(npy(dict("<f4", "(9223372036854775808,)"), "")), "64 bits"));
}

TEST_CASE("R113 a file cut at any length throws, and so does one that is too long") {
  const std::string whole = npy(dict("<f4", "(3,)"), three_floats);
  for (std::size_t length = 0; length < whole.size(); ++length) refused(whole.substr(0, length));
  refused(whole + '\0');
  CHECK(load(whole).numel() == 3);
}

TEST_CASE("R117 a locale that groups digits changes nothing") {
  struct Grouping : std::numpunct<char> {
    char do_thousands_sep() const override { return ','; }
    std::string do_grouping() const override { return "\3"; }
    char do_decimal_point() const override { return ','; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale(), new Grouping));
  const TemporaryFolder folder;
  save_npy(folder.path("x.npy"), Array::zeros({2621, 401}));
  const Shape shape = load_npy(folder.path("x.npy")).shape();
  const std::string text = detail::concat(shape, " ", 1234567.5);
  const std::string printed = Array::full({1}, 12345.5).to_string();
  std::locale::global(before);
  CHECK(shape == Shape{2621, 401});
  CHECK(text == "[2621, 401] 1234567.5");
  CHECK(printed == "[12345.5]");
}

TEST_CASE("R118 a full disk throws") {
  if (std::filesystem::exists("/dev/full")) CHECK_THROWS_AS(save_npy("/dev/full", Array::zeros({3})), Error);
  CHECK_THROWS_AS(load_npy("/no/such/file.npy"), Error);
}
