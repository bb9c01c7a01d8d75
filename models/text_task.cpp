#include "models/text_task.h"

#include <algorithm>

#include "autograd/ops.h"
#include "models/generate.h"

namespace norma::models {
namespace {

constexpr std::int64_t usual_context = 64;

}  // namespace

TextTask::TextTask(const Settings& settings)
    : TextTask(TextDataset::load(settings.data, settings.validation_fraction),
               settings.context == 0 ? usual_context : settings.context) {}

TextTask::TextTask(TextDataset data, std::int64_t context) : data_(std::move(data)), context_(context) {
  const auto bytes = static_cast<std::int64_t>(data_.text(Split::training).size());
  NORMA_CHECK(bytes > context_, "--data has ", bytes, " bytes to train on; --context ", context_,
              " needs one more than itself");
}

std::string TextTask::describe() const {
  return std::to_string(data_.text(Split::training).size()) + " bytes of text, " +
         std::to_string(data_.text(Split::validation).size()) + " more held out";
}

Batch TextTask::next_batch(std::int64_t batch, Generator& generator) const {
  return data_.random_batch(Split::training, batch, context_, generator);
}

std::optional<Evaluation> TextTask::evaluate(Gpt& model, std::int64_t batch, Effort effort) const {
  const std::int64_t pieces = data_.pieces(Split::validation, context_);
  if (pieces == 0) return std::nullopt;
  const std::int64_t batches = (pieces - 1) / batch + 1;
  // Tokens, roughly; the batches looked at are spread evenly over the held-out part.
  const std::int64_t budget = effort == Effort::full ? 1'000'000 : 20'000;
  const std::int64_t wanted = std::clamp<std::int64_t>(budget / (batch * context_), 1, batches);
  const NoGrad guard;
  double loss = 0;
  std::int64_t rows = 0;
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int64_t chosen = i * batches / wanted;
    const Batch held_out = data_.batch_of_pieces(Split::validation, chosen * batch, batch, context_);
    const std::int64_t size = held_out.tokens.shape()[0];
    const Tensor logits = model(Tensor(held_out.tokens).to(model.device()));
    loss +=
        cross_entropy(logits, Tensor(held_out.targets).to(model.device())).item() * static_cast<double>(size);
    rows += size;
  }
  return Evaluation{loss / static_cast<double>(rows)};
}

std::string TextTask::samples(Gpt& model) const {
  Generator generator(8);
  const Array prompt = Array::from(data_.tokenizer().encode("\n"), {1, 1});
  const Array written = generate(model, prompt, 300, {.sampling = {.temperature = 0.8}}, generator);
  return data_.tokenizer().decode(written.to_vector<std::int64_t>()) + "\n";
}

}  // namespace norma::models
