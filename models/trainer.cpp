#include "models/trainer.h"

#include <cmath>
#include <limits>
#include <optional>

#include "autograd/ops.h"
#include "core/profile.h"
#include "nn/checkpoint.h"
#include "nn/optim/clip.h"
#include "nn/probe.h"

namespace norma::models {
namespace {

// Key of the stream of batches: far from the starting values and dropout, which use the seed itself.
constexpr std::uint64_t data_stream = 0xD1B54A32D192ED03;

}  // namespace

Trainer::Trainer(Gpt& model, const Task& task, const Settings& settings)
    : model_(model),
      task_(task),
      settings_(settings),
      schedule_(make_schedule(settings)),
      optimizer_(nn::decay_groups(model, settings.weight_decay), {.lr = settings.lr, .betas = {0.9, 0.99}}),
      data_(settings.seed ^ data_stream) {}

StepReport Trainer::update() {
  StepReport report{.lr = schedule_(step_)};
  model_.train();
  optimizer_.zero_grad();
  std::optional<nn::probe::Pause> later_pieces;
  Tensor mean_loss = zeros({}, f64, model_.device());
  for (std::int64_t piece = 0; piece < settings_.accumulate; ++piece) {
    if (piece == 1) later_pieces.emplace();  // the probe looks at the first piece
    const Batch batch = [&] {
      const ProfileSection section("next batch");
      return task_.next_batch(settings_.batch, data_);
    }();
    const Tensor tokens = Tensor(batch.tokens).to(model_.device());
    const Tensor targets = Tensor(batch.targets).to(model_.device());
    const Tensor loss = cross_entropy(model_(tokens), targets) / static_cast<double>(settings_.accumulate);
    loss.backward();
    mean_loss = mean_loss + loss.detach().to(f64);
    report.items += tokens.numel();
  }
  const double limit = settings_.clip > 0 ? settings_.clip : std::numeric_limits<double>::infinity();
  report.read(mean_loss, nn::clip_grad_norm_(model_.parameters(), limit), step_,
              "try a lower --lr or a smaller --clip");
  optimizer_.set_lr(report.lr);
  optimizer_.step();
  ++step_;
  return report;
}

void Trainer::save(const std::string& path) {
  nn::save_checkpoint(path, {.model = &model_,
                             .optimizer = &optimizer_,
                             .generators = {{"data", &data_}, {"default", &default_generator()}},
                             .step = step_,
                             .metadata = to_metadata(settings_)});
}

void Trainer::load(const std::string& path) {
  nn::Checkpoint checkpoint{.model = &model_,
                            .optimizer = &optimizer_,
                            .generators = {{"data", &data_}, {"default", &default_generator()}}};
  nn::load_checkpoint(path, checkpoint);
  step_ = checkpoint.step;
  optimizer_.groups().front().weight_decay = settings_.weight_decay;
}

}  // namespace norma::models
