// What the reader must refuse and accept, on bytes in memory. Files and the outside reader:
// safetensors_file_test.cpp.
#include "nn/safetensors.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "autograd/ops.h"
#include "core/allocator.h"
#include "tests/messages.h"

using namespace norma;

namespace {

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + rest;
}

std::string file(const std::string& header, std::size_t data_bytes = 0) {
  return with_length(header.size(), header + std::string(data_bytes, '\0'));
}

nn::SafetensorsFile parse(const std::string& bytes) {
  return nn::parse_safetensors(bytes, "test.safetensors");
}

void rejects(const std::string& bytes, const char* text) {
  CHECK_THROWS_AS(parse(bytes), Error);
  CHECK_THROWS_MESSAGE_HAS(parse(bytes), text);
  CHECK_THROWS_MESSAGE_HAS(parse(bytes), "test.safetensors: ");
}

// A header of one tensor "a" with these texts in it.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"a\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}

std::string f32_entry(const std::string& name, int begin, int end) {
  return "\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string((end - begin) / 4) +
         "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

}  // namespace

TEST_SUITE_BEGIN("safetensors");

TEST_CASE("R104 header length beyond the file, zero, above the cap, 2^64 - 1") {
  const auto before = memory_stats(cpu);
  for (const std::string& bytes : {std::string(), std::string(7, 'x')}) rejects(bytes, "at least 8 bytes");
  rejects(with_length(3, "{}"), "claims 3 bytes, but only 2 follow");
  rejects(with_length(0, ""), "does not begin with '{'");
  rejects(with_length(0, "{}"), "does not begin with '{'");
  rejects(with_length(100'000'001, "{}"), "the format allows 100000000");
  rejects(with_length(UINT64_MAX, "{}"), "claims 18446744073709551615 bytes");
  rejects(with_length(std::uint64_t{1} << 63, "{}"), "claims 9223372036854775808 bytes");
  const auto after = memory_stats(cpu);
  CHECK(after.live_bytes == before.live_bytes);
  CHECK(after.system_allocations == before.system_allocations);
}

TEST_CASE("R105 a header that is no JSON object") {
  rejects(file("{\"\xff\xfe\":1}"), "not JSON");
  rejects(file("{\"__metadata__\":{\"a\":\"\xc3\"}}"), "not JSON");
  rejects(file("[]"), "does not begin with '{'");
  rejects(file(" {}"), "does not begin with '{'");
  rejects(file("\xef\xbb\xbf{}"), "does not begin with '{'");
  rejects(file("{"), "not JSON");
  rejects(file("{}}"), "not JSON");
  rejects(file("{} x"), "not JSON");
  rejects(file("{\"a\""), "not JSON");
  rejects(file(std::string("{}\0\0", 4)), "NUL");
  rejects(file("{\"a\":1}"), "found a number");
  rejects(file("{\"a\":[]}"), "found an array");
  rejects(file("{\"a\":null}"), "found null");
  rejects(file("{\"a\":true}"), "found a boolean");
  rejects(file("{\"a\":\"F32\"}"), "found a string");
  rejects(file("{\"a\":{\"b\":{}}}"), "\"b\"");
  CHECK(parse(file("{}")).tensors.empty());
  CHECK(parse(file("{}      ")).tensors.empty());
}

TEST_CASE("R106 names that repeat") {
  rejects(file("{" + f32_entry("a", 0, 4) + "," + f32_entry("a", 4, 8) + "}", 8), "\"a\" occurs twice");
  rejects(file("{\"__metadata__\":{},\"__metadata__\":{}}"), "\"__metadata__\" occurs twice");
  rejects(file("{\"__metadata__\":{\"x\":\"1\",\"x\":\"2\"}}"), "holds \"x\" twice");
  rejects(file("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
          "\"dtype\" occurs twice");
  rejects(file("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
          "\"shape\" occurs twice");
  rejects(file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"data_offsets\":[0,4]}}", 4),
          "\"data_offsets\" occurs twice");
}

TEST_CASE("R107 offsets that do not cover the data once") {
  rejects(file(one("\"F32\"", "[1]", "[4,0]"), 4), "end before they begin: [4, 0]");
  rejects(file(one("\"F32\"", "[2]", "[0,8]"), 4), "reach beyond the 4 bytes");
  rejects(file("{" + f32_entry("a", 0, 8) + "," + f32_entry("b", 4, 12) + "}", 12), "overlap");
  rejects(file("{" + f32_entry("a", 0, 8) + "," + f32_entry("b", 0, 8) + "}", 8), "overlap");
  rejects(file("{" + f32_entry("a", 0, 4) + "," + f32_entry("b", 8, 12) + "}", 12), "hole");
  rejects(file("{" + f32_entry("a", 4, 8) + "}", 8), "hole");
  rejects(file("{" + f32_entry("a", 0, 4) + "}", 8), "cover 4 of 8 bytes");
  rejects(file("{}", 1), "cover 0 of 1 bytes");
  rejects(file(one("\"F32\"", "[1]", "[0]"), 4), "must hold 2 numbers, not 1");
  rejects(file(one("\"F32\"", "[1]", "[0,4,4]"), 4), "must hold 2 numbers, not 3");

  const auto unsorted = parse(file("{" + f32_entry("b", 4, 12) + "," + f32_entry("a", 0, 4) + "}", 12));
  REQUIRE(unsorted.tensors.size() == 2);
  CHECK(unsorted.tensors[0].first == "b");
  CHECK(unsorted.tensors[0].second.shape() == Shape{2});
}

TEST_CASE("R108 numbers that are no integers in [0, 2^63)") {
  for (const char* number : {"-1", "1.5", "1e3", "4.0", "18446744073709551616", "9223372036854775808",
                             "18446744073709551615", "\"5\"", "null", "true", "[]", "{}", "-0", "1E400"}) {
    CAPTURE(number);
    const std::string wrapped = std::string("[") + number + "]";
    CHECK_THROWS_AS(parse(file(one("\"F32\"", wrapped, "[0,4]"), 4)), Error);
    CHECK_THROWS_AS(parse(file(one("\"F32\"", "[1]", std::string("[0,") + number + "]"), 4)), Error);
    CHECK_THROWS_AS(parse(file(one("\"F32\"", "[1]", std::string("[") + number + ",4]"), 4)), Error);
  }
  CHECK(parse(file(one("\"F32\"", "[1]", "[0,4]"), 4)).tensors.size() == 1);
}

TEST_CASE("R109 sizes that overflow or differ from the span") {
  rejects(file(one("\"F32\"", "[1099511627776,1099511627776]", "[0,0]")), "tensor \"a\": ");
  rejects(file(one("\"F32\"", "[4294967296,4294967296]", "[0,0]")), "tensor \"a\": ");
  rejects(file(one("\"F64\"", "[2305843009213693952]", "[0,0]")), "overflows");
  rejects(file(one("\"F32\"", "[2]", "[0,4]"), 4), "takes 8 bytes, data_offsets span 4");
  rejects(file(one("\"F32\"", "[0]", "[0,4]"), 4), "takes 0 bytes, data_offsets span 4");
  rejects(file(one("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "tensor \"a\": ");  // rank 9
}

TEST_CASE("R110 unknown dtypes, and parts that lack") {
  for (const char* dtype : {"\"I32\"", "\"F8_E4M3\"", "\"f32\"", "\"\""}) {
    rejects(file(one(dtype, "[18446744073709551]", "[7,3]"), 4),
            "is not one of F32, F64, I64, BOOL, F16, BF16");
  }
  rejects(file(one("32", "[1]", "[0,4]"), 4), "found a number");
  rejects(file("{\"a\":{}}"), "dtype, shape and data_offsets are needed");
  rejects(file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), "are needed");
  rejects(file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4), "more");
  std::string bytes = file(one("\"BOOL\"", "[3]", "[0,3]"), 3);
  CHECK(parse(bytes).tensors[0].second.to_vector<bool>() == std::vector<bool>(3));
  bytes.back() = 2;
  rejects(bytes, "byte 2 of a BOOL tensor is neither 0 nor 1");
}

TEST_CASE("R112 metadata that is not text, and deep nesting") {
  rejects(file("{\"__metadata__\":{\"a\":1}}"), "must map strings to strings; found a number under \"a\"");
  rejects(file("{\"__metadata__\":{\"a\":{}}}"), "must map strings to strings");
  rejects(file("{\"__metadata__\":{\"a\":[\"b\"]}}"), "must map strings to strings");
  rejects(file("{\"__metadata__\":[]}"), "found an array");
  rejects(file("{\"__metadata__\":\"a\"}"), "found a string");
  const std::size_t depth = 1'000'000;
  rejects(file("{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}"), "found an array");
  std::string objects = "{\"a\":";
  for (std::size_t i = 0; i < depth; ++i) objects += "{\"shape\":";
  CHECK_THROWS_AS(parse(file(objects)), Error);
}

TEST_CASE("F16 and BF16 are widened exactly, all 65536 of each") {
  for (const bool brain : {false, true}) {
    std::string bytes = file(one(brain ? "\"BF16\"" : "\"F16\"", "[65536]", "[0,131072]"), 131072);
    for (std::uint32_t i = 0; i < 65536; ++i) {
      const auto bits = static_cast<std::uint16_t>(i);
      std::memcpy(bytes.data() + bytes.size() - 131072 + 2 * i, &bits, 2);
    }
    const Tensor wide = parse(bytes).tensors[0].second;
    REQUIRE(wide.dtype() == f32);
    const auto values = wide.to_vector<float>();
    const int fraction_bits = brain ? 7 : 10, exponent_bits = brain ? 8 : 5, bias = brain ? 127 : 15;
    int wrong = 0;
    for (int i = 0; i < 65536; ++i) {
      const double sign = i >> 15 != 0 ? -1 : 1;
      const int exponent = i >> fraction_bits & ((1 << exponent_bits) - 1),
                fraction = i & ((1 << fraction_bits) - 1);
      const double part = std::ldexp(fraction, -fraction_bits);
      const float value = values[static_cast<std::size_t>(i)];
      if (exponent == (1 << exponent_bits) - 1) {
        wrong += fraction != 0 ? !std::isnan(value) : value != static_cast<float>(sign * INFINITY);
      } else {
        const double expected =
            sign * (exponent == 0 ? std::ldexp(part, 1 - bias) : std::ldexp(1 + part, exponent - bias));
        wrong += value != expected || std::signbit(value) != (i >> 15 != 0);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("R123 check_finite names what is not") {
  const nn::StateDict state{{"fine", ones({2})},
                            {"nan", tensor({0, NAN})},
                            {"count", zeros({}, i64)},
                            {"inf", tensor({-INFINITY}, f64)},
                            {"empty", zeros({0})}};
  CHECK(nn::check_finite(state) == std::vector<std::string>{"nan", "inf"});
}

TEST_SUITE_END();
