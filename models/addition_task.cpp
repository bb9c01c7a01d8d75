#include "models/addition_task.h"

#include <algorithm>

#include "autograd/ops.h"
#include "models/generate.h"

namespace norma::models {

AdditionTask::AdditionTask(const Settings& settings)
    : data_({.digits = static_cast<int>(settings.digits), .held_out_fraction = settings.validation_fraction}),
      context_(settings.context == 0 ? data_.problem_length() - 1 : settings.context),
      held_out_(settings.validation_fraction) {
  NORMA_CHECK(context_ >= data_.problem_length() - 1, "--context must be at least ",
              data_.problem_length() - 1, " for numbers of ", settings.digits, " digits, got ", context_);
}

std::string AdditionTask::describe() const {
  const Problem example{3, 4};
  return "addition as text, such as " +
         data_.text(example).substr(0, static_cast<std::size_t>(data_.problem_length() - 1)) +
         " (the sum is written last digit first)";
}

Batch AdditionTask::next_batch(std::int64_t batch, Generator& generator) const {
  return data_.batch(data_.draw(Split::training, batch, generator));
}

std::optional<Evaluation> AdditionTask::evaluate(Gpt& model, std::int64_t batch, Effort effort) const {
  if (held_out_ == 0) return std::nullopt;
  Generator generator(7);  // the same problems each time
  const std::int64_t count = effort == Effort::full ? 5000 : 500;
  const NoGrad guard;
  double loss = 0;
  std::int64_t correct = 0;
  for (std::int64_t done = 0; done < count;) {
    const std::vector<Problem> problems =
        data_.draw(Split::validation, std::min(std::max<std::int64_t>(batch, 100), count - done), generator);
    const auto size = static_cast<std::int64_t>(problems.size());
    const Batch held_out = data_.batch(problems);
    const Tensor logits = model(Tensor(held_out.tokens).to(model.device()));
    loss +=
        cross_entropy(logits, Tensor(held_out.targets).to(model.device())).item() * static_cast<double>(size);
    correct += data_.count_correct(problems, answers(model, problems));
    done += size;
  }
  const auto n = static_cast<double>(count);
  return Evaluation{loss / n, static_cast<double>(correct) / n};
}

std::string AdditionTask::samples(Gpt& model) const {
  Generator generator(8);
  const std::vector<Problem> problems =
      data_.draw(held_out_ > 0 ? Split::validation : Split::training, 8, generator);
  const Array written = answers(model, problems);
  const auto tokens = written.to_vector<std::int64_t>();
  const auto width = static_cast<std::size_t>(data_.answer_length());
  std::string text;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    const auto answer = std::span(tokens).subspan(i * width, width);
    const std::int64_t sum = problems[i].a + problems[i].b;
    text += "  " + data_.show(problems[i], answer) +
            (data_.answer(answer) == sum ? "  right\n" : "  wrong, it is " + std::to_string(sum) + "\n");
  }
  return text;
}

Array AdditionTask::answers(Gpt& model, std::span<const Problem> problems) const {
  Generator unused;
  return generate(model, data_.prompts(problems), data_.answer_length(), {.sampling = {.temperature = 0}},
                  unused);
}

}  // namespace norma::models
