#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <set>

#include "models/data/addition.h"
#include "models/data/text_dataset.h"
#include "models/data/tokenizer.h"
#include "tests/messages.h"
#include "tests/temporary.h"

using namespace norma;
using namespace norma::models;

namespace {

using Ids = std::vector<std::int64_t>;

std::string numbered_text(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(i % 251));
  return text;
}

}  // namespace

TEST_SUITE_BEGIN("data");

TEST_CASE("R125 byte tokenizer: every byte string comes back") {
  const ByteTokenizer tokenizer;
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& text : {std::string(), std::string(1, '\0'), all, std::string("\xff\xc3(\x80"),
                                  std::string("h\xc3\xa9llo"), std::string(1 << 20, 'a')}) {
    const Ids ids = tokenizer.encode(text);
    CHECK(ids.size() == text.size());
    CHECK(tokenizer.decode(ids) == text);
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  CHECK(tokenizer.encode("\xff") == Ids{255});
  CHECK_THROWS_MESSAGE_HAS(tokenizer.decode(Ids{1, 256}), "id 256 at place 1 is not in [0, 256)");
  CHECK_THROWS_AS(tokenizer.decode(Ids{-1}), Error);
}

TEST_CASE("character vocabulary") {
  const CharVocabulary vocabulary("ab\n");
  CHECK(vocabulary.vocabulary_size() == 3);
  CHECK(vocabulary.encode("ba\n") == Ids{1, 0, 2});
  CHECK(vocabulary.decode(Ids{1, 0, 2}) == "ba\n");
  CHECK(vocabulary.id('b') == 1);
  CHECK_THROWS_MESSAGE_HAS(vocabulary.encode("abc"), "byte 99 at place 2");
  CHECK_THROWS_MESSAGE_HAS(vocabulary.encode("\xff"), "byte 255 at place 0");
  CHECK_THROWS_MESSAGE_HAS(vocabulary.decode(Ids{0, 3}), "id 3 at place 1 is not in [0, 3)");
  CHECK_THROWS_MESSAGE_HAS(CharVocabulary("aba"), "at place 2 repeats the one at place 0");
}

TEST_CASE("text: parts, batches and what follows each token") {
  const TextDataset data(numbered_text(1000), 0.25);
  CHECK(data.text(Split::training).size() == 750);
  CHECK(data.text(Split::validation).size() == 250);
  Generator generator(1);
  for (const Split split : {Split::training, Split::validation}) {
    const Batch batch = data.random_batch(split, 3, 8, generator);
    CHECK(batch.tokens.shape() == Shape{3, 8});
    CHECK(batch.tokens.dtype() == i64);
    const auto tokens = batch.tokens.to_vector<std::int64_t>(),
               targets = batch.targets.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < 24; ++i) {
      CHECK(targets[i] == (tokens[i] + 1) % 251);
      if (i % 8 != 7) CHECK(tokens[i + 1] == targets[i]);
    }
  }
}

TEST_CASE("text: the generator is the position") {
  const TextDataset data(numbered_text(1000));
  Generator generator(5);
  static_cast<void>(data.random_batch(Split::training, 2, 4, generator));
  Generator again(5);
  again.set_state(generator.state());
  const Ids first = data.random_batch(Split::training, 4, 4, generator).tokens.to_vector<std::int64_t>();
  CHECK(first == data.random_batch(Split::training, 4, 4, again).tokens.to_vector<std::int64_t>());
  CHECK(first != data.random_batch(Split::training, 4, 4, again).tokens.to_vector<std::int64_t>());
}

TEST_CASE("text: random places reach both ends and nothing else") {
  const TextDataset data("abcdef", 0);
  Generator generator(2);
  std::set<std::int64_t> first_tokens;
  for (int i = 0; i < 200; ++i) {
    first_tokens.insert(
        data.random_batch(Split::training, 1, 3, generator).tokens.to_vector<std::int64_t>()[0]);
  }
  CHECK(first_tokens == std::set<std::int64_t>{'a', 'b', 'c'});
}

TEST_CASE("text: pieces cover the validation part once") {
  const TextDataset data(numbered_text(1000), 0.1);  // 100 bytes: 99 targets
  CHECK(data.pieces(Split::validation, 8) == 12);
  CHECK(data.pieces(Split::validation, 99) == 1);
  CHECK(data.pieces(Split::validation, 100) == 0);
  Ids targets;
  for (std::int64_t first = 0; first < 12; first += 5) {
    const Batch batch = data.batch_of_pieces(Split::validation, first, 5, 8);
    CHECK(batch.targets.shape() == Shape{std::min<std::int64_t>(5, 12 - first), 8});
    const Ids more = batch.targets.to_vector<std::int64_t>();
    targets.insert(targets.end(), more.begin(), more.end());
  }
  REQUIRE(targets.size() == 96);
  for (std::size_t i = 0; i < targets.size(); ++i)
    CHECK(targets[i] == static_cast<std::int64_t>((901 + i) % 251));
  CHECK_THROWS_MESSAGE_HAS(data.batch_of_pieces(Split::validation, 12, 1, 8), "piece 12 is not in [0, 12)");
}

TEST_CASE("R124 text files that cannot serve") {
  const tests::TemporaryFolder folder;
  CHECK_THROWS_MESSAGE_HAS(TextDataset::load(folder.path("absent")), "absent");
  std::ofstream(folder.path("empty")).close();
  CHECK_THROWS_MESSAGE_HAS(TextDataset::load(folder.path("empty")), "is empty");
  CHECK_THROWS_AS(TextDataset::load(folder.path("")), Error);
  std::ofstream(folder.path("short")) << "abcd";
  const auto data = TextDataset::load(folder.path("short"), 0.5);
  Generator generator;
  CHECK(data.random_batch(Split::training, 1, 1, generator).tokens.at({0, 0}) == 'a');
  CHECK_THROWS_MESSAGE_HAS(data.random_batch(Split::validation, 1, 2, generator),
                           "the validation part has 2 bytes, too short for context 2");
  CHECK_THROWS_MESSAGE_HAS(data.random_batch(Split::training, 0, 2, generator), "must be > 0");
  CHECK_THROWS_MESSAGE_HAS(TextDataset("abc", 1), "validation_fraction must lie in [0, 1), got 1");
  CHECK_THROWS_MESSAGE_HAS(TextDataset("", 0), "the text is empty");
}

TEST_CASE("addition: text, tokens and targets") {
  const AdditionDataset data;
  CHECK(data.text({123, 45}) == "123+045=8610\n");
  CHECK(data.text({999, 999}) == "999+999=8991\n");
  CHECK(data.problem_length() == 13);
  const std::vector<Problem> problems{{123, 45}, {0, 0}};
  const Batch batch = data.batch(problems);
  CHECK(batch.tokens.shape() == Shape{2, 12});
  CHECK(batch.targets.shape() == Shape{2, 12});
  const auto tokens = batch.tokens.to_vector<std::int64_t>(),
             targets = batch.targets.to_vector<std::int64_t>();
  CHECK(data.vocabulary().decode(std::span(tokens).first(12)) == "123+045=8610");
  CHECK(std::vector(targets.begin(), targets.begin() + 12) ==
        Ids{-100, -100, -100, -100, -100, -100, -100, 8, 6, 1, 0, 12});
  const AdditionDataset whole({.digits = 1, .learn_question = true});
  CHECK(whole.batch(std::vector<Problem>{{3, 9}}).targets.to_vector<std::int64_t>() ==
        Ids{10, 9, 11, 2, 1, 12});
  CHECK(data.batch({}).tokens.shape()[0] == 0);
}

TEST_CASE("addition: held-out problems are apart from training, whatever the order of the operands") {
  const AdditionDataset data({.digits = 2, .held_out_fraction = 0.1, .seed = 3});
  std::int64_t held_out = 0;
  for (std::int64_t a = 0; a < 100; ++a) {
    for (std::int64_t b = 0; b < 100; ++b) {
      CHECK(data.is_held_out({a, b}) == data.is_held_out({b, a}));
      held_out += data.is_held_out({a, b});
    }
  }
  CHECK(held_out > 800);
  CHECK(held_out < 1200);
  Generator generator(1);
  for (const Problem& problem : data.draw(Split::training, 500, generator)) CHECK(!data.is_held_out(problem));
  for (const Problem& problem : data.draw(Split::validation, 500, generator))
    CHECK(data.is_held_out(problem));

  const AdditionDataset other({.digits = 2, .held_out_fraction = 0.1, .seed = 4});
  std::int64_t both = 0;
  for (std::int64_t a = 0; a < 100; ++a) both += data.is_held_out({a, a}) && other.is_held_out({a, a});
  CHECK(both < 20);
}

TEST_CASE("addition: the generator is the position") {
  const AdditionDataset data;
  Generator first(1), second(1);
  CHECK(data.draw(Split::training, 20, first) == data.draw(Split::training, 20, second));
  second.set_state(first.state());
  CHECK(data.draw(Split::training, 20, first) == data.draw(Split::training, 20, second));
}

TEST_CASE("addition: answers are right in every digit or wrong") {
  const AdditionDataset data;
  const std::vector<Problem> problems{{123, 45}, {999, 1}, {0, 0}};
  const auto prompts = data.prompts(problems).to_vector<std::int64_t>();
  CHECK(data.vocabulary().decode(prompts) == "123+045=999+001=000+000=");
  const auto answers = [&](const char* text) {
    const auto ids = data.vocabulary().encode(text);
    return Array::from(ids, {3, static_cast<std::int64_t>(ids.size()) / 3});
  };
  CHECK(data.count_correct(problems, answers("861000010000")) == 3);
  CHECK(data.count_correct(problems, answers("8610\n0001\n00001")) == 3);  // what follows does not count
  CHECK(data.count_correct(problems, answers("861000010010")) == 2);
  CHECK(data.count_correct(problems, answers("861+0001=000")) == 1);
  CHECK(data.answer(data.vocabulary().encode("8610")) == 168);
  CHECK(data.answer(data.vocabulary().encode("86")) == -1);
  CHECK(data.show({123, 45}, data.vocabulary().encode("8610")) == "123 + 45 = 168");
  CHECK(data.show({123, 45}, data.vocabulary().encode("86+0")) == "123 + 45 = ?");
  CHECK_THROWS_MESSAGE_HAS(data.count_correct(problems, answers("861000010")), "at least 4");
}

TEST_CASE("addition: wrong options and operands are named") {
  CHECK_THROWS_MESSAGE_HAS(AdditionDataset({.digits = 0}), "digits must lie in [1, 9], got 0");
  CHECK_THROWS_MESSAGE_HAS(AdditionDataset({.held_out_fraction = 1}), "held_out_fraction");
  CHECK_THROWS_MESSAGE_HAS(AdditionDataset().text({1000, 0}),
                           "operands must lie in [0, 1000), got 1000 and 0");
  CHECK_THROWS_MESSAGE_HAS(AdditionDataset().is_held_out({-1, 0}), "operands");
  Generator generator;
  CHECK_THROWS_MESSAGE_HAS(AdditionDataset({.held_out_fraction = 0}).draw(Split::validation, 1, generator),
                           "no held-out problems found; held_out_fraction is 0");
}

TEST_SUITE_END();
