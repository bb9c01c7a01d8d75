// safetensors files on the disk: written, read, cut, torn, exchanged with Python.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <locale>
#include <thread>

#include "autograd/ops.h"
#include "core/file.h"
#include "core/random.h"
#include "nn/safetensors.h"
#include "tests/messages.h"
#include "tests/temporary.h"

using namespace norma;

namespace {

void check_same(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dtype() == b.dtype());
  REQUIRE(a.shape() == b.shape());
  for_any(a.dtype(), [&]<class T>() { CHECK(a.to_vector<T>() == b.to_vector<T>()); });
}

// (i - 2) * 0.375, as tests/outside/safetensors_roundtrip.py has it.
Tensor ramp(const Shape& shape, DType dtype = f32) {
  return ((arange(0, static_cast<double>(shape.numel()), 1, f64) - 2) * 0.375)
      .reshape({shape.begin(), shape.end()})
      .to(dtype);
}

nn::StateDict exchanged() {
  return {{"0.weight", ramp({3, 2})},
          {"0.bias", ramp({3})},
          {"1.weight", ramp({3}, f64)},
          {"1.running_mean", ramp({3})},
          {"1.running_var", ramp({3}) + 2},
          {"1.num_batches_tracked", tensor(std::vector<std::int64_t>{9007199254740993}, Shape{})},
          {"mask", tensor(std::vector<bool>{true, false, true}, {3})},
          {"empty", zeros({0, 5})},
          {"\xc3\xbc"
           "bung",
           tensor(std::vector<std::int64_t>{-1, std::int64_t{1} << 62}, {1, 2})}};
}

const nn::Metadata exchanged_metadata{{"format", "pt"},
                                      {"note",
                                       "Gr\xc3\xbc\xc3\x9f"
                                       "e, \"quoted\"\n"}};

// Restores a limit at the end of the scope.
struct FileSizeLimit {
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before);
    previous = ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, previous);
  }
  rlimit before{};
  void (*previous)(int) = nullptr;
};

}  // namespace

TEST_SUITE_BEGIN("safetensors");

TEST_CASE("R111 what is saved is loaded: dtypes, empty, scalar, strided, order, texts") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.path("a.safetensors");
  nn::StateDict state = exchanged();
  state.emplace_back("", ramp({2, 3}).t());
  state.emplace_back("tab\t\"\\\x01", ramp({1, 1, 1, 1, 1, 1, 1, 2}).slice(7, {0, 2, 2}));
  state.emplace_back("expanded", ones({1}, f64).expand({2, 2}));
  nn::save_safetensors(path, state, exchanged_metadata);
  const auto loaded = nn::load_safetensors(path);
  REQUIRE(loaded.tensors.size() == state.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    CHECK(loaded.tensors[i].first == state[i].first);
    check_same(loaded.tensors[i].second, state[i].second);
  }
  CHECK(loaded.metadata == exchanged_metadata);
  CHECK(*nn::find(loaded.metadata, "format") == "pt");
  CHECK(nn::find(loaded.metadata, "absent") == nullptr);
  CHECK(nn::find(loaded.tensors, "mask")->dtype() == boolean);
  CHECK(nn::find(loaded.tensors, "absent") == nullptr);
  CHECK(folder.count() == 1);

  nn::save_safetensors(path, {});
  CHECK(nn::load_safetensors(path).tensors.empty());
}

TEST_CASE("the writer refuses what no reader would take") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.path("a.safetensors");
  const Tensor x = ones({1});
  CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(path, {{"a", x}, {"a", x}}), "\"a\" occurs twice");
  CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(path, {{"__metadata__", x}}),
                           "cannot be called __metadata__");
  CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(path, {{"\xff", x}}), "not UTF-8");
  CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(path, {}, {{"a", "\xc3"}}), "not UTF-8");
  CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(path, {}, {{"a", ""}, {"a", ""}}), "\"a\" occurs twice");
  CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(path, {{"a", Tensor()}}), "tensor \"a\" is undefined");
  CHECK(folder.count() == 0);
}

TEST_CASE("R113 a file cut at any length") {
  const tests::TemporaryFolder folder;
  nn::save_safetensors(folder.path("whole"), exchanged(), exchanged_metadata);
  const std::string bytes = read_file(folder.path("whole"));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const std::string cut(bytes.data(), length);  // its own memory, so that an overrun shows under ASan
    CHECK_THROWS_AS(nn::parse_safetensors(cut, "cut"), Error);
  }
  CHECK_THROWS_AS(nn::parse_safetensors(bytes + '\0', "longer"), Error);
  CHECK(nn::parse_safetensors(bytes, "whole").tensors.size() == exchanged().size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {  // any byte changed: a value or an Error, never worse
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
    try {
      static_cast<void>(nn::parse_safetensors(changed, "changed"));
    } catch (const Error&) {
    }
  }
}

TEST_CASE("large files are read in pieces") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.path("large");
  const Tensor floats = arange(0, 1000003, 1, f32), flags = arange(0, 3000001, 1, i64) < 2000000;
  nn::save_safetensors(path, {{"floats", floats}, {"flags", flags}, {"none", zeros({0, 3})}});
  const auto loaded = nn::load_safetensors(path);
  CHECK(nn::find(loaded.tensors, "floats")->to_vector<float>() == floats.to_vector<float>());
  CHECK(nn::find(loaded.tensors, "flags")->to_vector<bool>() == flags.to_vector<bool>());
  CHECK(nn::find(loaded.tensors, "none")->shape() == Shape{0, 3});

  std::string bytes = read_file(path);
  bytes[bytes.size() - 2] = 2;  // of the flags, which come last
  CHECK_THROWS_MESSAGE_HAS(nn::parse_safetensors(bytes, "bad"),
                           "tensor \"flags\": byte 2999999 of a BOOL tensor is neither 0 nor 1");

  constexpr std::size_t count = 1500001;
  std::string halves = R"({"h":{"dtype":"F16","shape":[1500001],"data_offsets":[0,3000002]}})";
  halves = std::string{static_cast<char>(halves.size()), 0, 0, 0, 0, 0, 0, 0} + halves;
  for (std::size_t i = 0; i < count; ++i)
    halves += {static_cast<char>(i % 251), 0x3c};  // 1 + (i mod 251) / 1024
  const auto widened = nn::parse_safetensors(halves, "halves").tensors[0].second.to_vector<float>();
  REQUIRE(widened.size() == count);
  bool right = true;
  for (std::size_t i = 0; i < count; ++i) right &= widened[i] == 1 + static_cast<float>(i % 251) / 1024;
  CHECK(right);
}

TEST_CASE("R114 a file cut after it was loaded does no harm") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.path("a");
  nn::save_safetensors(path, {{"a", full({1 << 16}, 3)}});
  const auto loaded = nn::load_safetensors(path);
  REQUIRE(::truncate(path.c_str(), 100) == 0);
  CHECK(loaded.tensors[0].second.sum().item() == 3.0 * (1 << 16));
  CHECK_THROWS_AS(nn::load_safetensors(path), Error);
  CHECK_THROWS_MESSAGE_HAS(nn::load_safetensors(folder.path("absent")), folder.path("absent"));
}

TEST_CASE("R117 a locale with digit grouping changes nothing") {
  struct Grouping : std::numpunct<char> {
    char do_thousands_sep() const override { return ','; }
    char do_decimal_point() const override { return ','; }
    std::string do_grouping() const override { return "\3"; }
  };
  const tests::TemporaryFolder folder;
  const Tensor x = arange(0, 2621 * 2, 1, f32).reshape({2621, 2});
  nn::save_safetensors(folder.path("classic"), {{"x", x}});
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Grouping));
  nn::save_safetensors(folder.path("grouped"), {{"x", x}});
  const auto loaded = nn::load_safetensors(folder.path("grouped"));
  std::locale::global(before);
  check_same(loaded.tensors[0].second, x);
  CHECK(read_file(folder.path("grouped")) == read_file(folder.path("classic")));
}

TEST_CASE("R118 a full disk and a path that cannot be written") {
  const tests::TemporaryFolder folder;
  const nn::StateDict state{{"a", zeros({1 << 18})}};
  CHECK_THROWS_AS(nn::save_safetensors("/dev/full", state), Error);
  CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(folder.path("no/such/folder"), state), "no/such/folder");
  CHECK_THROWS_AS(nn::save_safetensors(folder.path(""), state), Error);

  const std::string path = folder.path("a");
  nn::save_safetensors(path, {{"old", ones({1})}});
  {
    const FileSizeLimit limit(1 << 16);  // the disk is full after 64 KiB
    CHECK_THROWS_MESSAGE_HAS(nn::save_safetensors(path, state), path);
  }
  CHECK(folder.count() == 1);  // R119: no temporary file stays
  CHECK(nn::load_safetensors(path).tensors[0].first == "old");
}

TEST_CASE("R119 killed at 50 moments, a writer leaves the old file or the new one") {
  const tests::TemporaryFolder folder;
  const std::string path = folder.path("a");
  const std::int64_t n = 1 << 16;
  const auto start = std::chrono::steady_clock::now();
  nn::save_safetensors(path, {{"a", full({n}, 0)}}, {{"value", "0"}});
  const auto one_save =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  const std::vector<Tensor> values{full({n}, 0), full({n}, 1)};
  Generator generator(119);
  std::int64_t most_saves = 0;
  for (int round = 0; round < 50; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      try {
        for (std::size_t i = 1;; ++i) {
          nn::save_safetensors(path, {{"a", values[i % 2]}},
                               {{"value", std::to_string(i % 2)}, {"saves", std::to_string(i)}});
        }
      } catch (...) {
        ::_exit(1);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(generator.below(5'000 + 8 * one_save.count())));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));

    const auto loaded = nn::load_safetensors(path);
    const auto content = loaded.tensors[0].second.to_vector<float>();
    const float expected = std::stof(*nn::find(loaded.metadata, "value"));
    CHECK(content == std::vector<float>(static_cast<std::size_t>(n), expected));
    if (const auto* saves = nn::find(loaded.metadata, "saves"))
      most_saves = std::max(most_saves, std::stol(*saves));
  }
  CHECK(most_saves > 1);  // the kills did hit a writer at work
  nn::save_safetensors(path, {{"a", values[0]}});
  CHECK(folder.count() == 1);  // a temporary file that a killed writer left is taken over
}

TEST_CASE("R122 a file of Python's safetensors is read") {
  const auto loaded = nn::load_safetensors("tests/fixtures/python.safetensors");
  const auto expected = exchanged();
  CHECK(loaded.tensors.size() == expected.size() + 1);
  for (const auto& entry : expected) {
    CAPTURE(entry.first);
    const Tensor* found = nn::find(loaded.tensors, entry.first);
    REQUIRE(found != nullptr);
    check_same(*found, entry.second);
  }
  check_same(*nn::find(loaded.tensors, "half"), ramp({5}));
  for (const auto& [name, text] : exchanged_metadata) {
    REQUIRE(nn::find(loaded.metadata, name) != nullptr);
    CHECK(*nn::find(loaded.metadata, name) == text);
  }
}

// tests/outside/safetensors_roundtrip.py check tests/fixtures/norma.safetensors: Python reads those very
// bytes.
TEST_CASE("R122 what is written is what Python was seen to read") {
  const tests::TemporaryFolder folder;
  nn::save_safetensors(folder.path("a"), exchanged(), exchanged_metadata);
  CHECK(read_file(folder.path("a")) == read_file("tests/fixtures/norma.safetensors"));
}

TEST_CASE("R123 NaN is loaded as it was saved") {
  const tests::TemporaryFolder folder;
  nn::save_safetensors(folder.path("a"), {{"x", tensor({1, NAN})}});
  const auto loaded = nn::load_safetensors(folder.path("a"));
  CHECK(std::isnan(loaded.tensors[0].second.at({1})));
  CHECK(nn::check_finite(loaded.tensors) == std::vector<std::string>{"x"});
}

TEST_SUITE_END();
