#include "models/answer.h"

#include "core/number.h"
#include "models/addition_task.h"
#include "nn/checkpoint.h"

namespace norma::models {
namespace {

constexpr std::int64_t bytes = 256;

Problem parse_problem(const std::string& prompt) {
  const std::size_t plus = prompt.find('+');
  Problem problem;
  const auto number = [&](std::string_view text, std::int64_t& value) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ') || text.ends_with('=')) text.remove_suffix(1);
    return parse_number(text, value);
  };
  NORMA_CHECK(plus != std::string::npos && number(std::string_view(prompt).substr(0, plus), problem.a) &&
                  number(std::string_view(prompt).substr(plus + 1), problem.b),
              "this model adds: the prompt must be like \"12+34\", got \"", prompt, "\"");
  return problem;
}

}  // namespace

TrainedGpt load_gpt(const std::string& path, const std::string& device) {
  const nn::Checkpoint head = nn::peek_checkpoint(path);
  NORMA_CHECK(nn::find(head.metadata, "layers") != nullptr && nn::find(head.metadata, "width") != nullptr,
              path, ": no checkpoint of train_gpt");
  Settings settings = settings_from(head.metadata);
  settings.device = device;
  check(settings);
  const nn::StateDict state = nn::load_model_state(path);
  const Tensor* table = nn::find(state, "token_embedding.weight");
  NORMA_CHECK(table != nullptr && table->dim() == 2 && table->size(1) == settings.width, path,
              ": token_embedding.weight must be a matrix with ", settings.width, " columns");
  NORMA_CHECK(settings.context > 0, path, ": the context is missing");
  TrainedGpt trained{Gpt(gpt_options(settings, table->size(0), settings.context)), settings};
  trained.model.load_state_dict(state);
  trained.model.to(parse_device(device));
  trained.model.eval();
  return trained;
}

void answer(TrainedGpt& trained, const std::string& prompt, std::int64_t tokens,
            const SamplingOptions& sampling, bool cache, Generator& generator,
            const std::function<bool(const std::string&)>& write) {
  GenerateOptions options{.sampling = sampling, .cache = cache};
  if (trained.settings.data.empty()) {
    const AdditionTask task(trained.settings);
    const std::vector<Problem> problems{parse_problem(prompt)};
    const Array digits = generate(trained.model, task.data().prompts(problems), task.data().answer_length(),
                                  options, generator);
    write(task.data().show(problems.front(), digits.to_vector<std::int64_t>()));
    return;
  }
  NORMA_CHECK(trained.model.options().vocabulary == bytes, "this model's vocabulary has ",
              trained.model.options().vocabulary, " tokens; a model of bytes has ", bytes);
  const ByteTokenizer tokenizer;
  const auto ids = tokenizer.encode(prompt.empty() ? std::string("\n") : prompt);
  options.on_token = [&](std::span<const std::int64_t> next) { return write(tokenizer.decode(next)); };
  generate(trained.model, Array::from(ids, {1, std::ssize(ids)}), tokens, options, generator);
}

}  // namespace norma::models
