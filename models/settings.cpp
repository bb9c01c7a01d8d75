#include "models/settings.h"

#include <algorithm>
#include <cmath>

#include "core/precision.h"

namespace norma::models {
namespace {

void check_numbers(const Settings& s) {
  check_range("--digits", s.digits, s.digits >= 1 && s.digits <= 9, "1 to 9");
  check_range("--validation", s.validation_fraction, s.validation_fraction >= 0 && s.validation_fraction < 1,
              "at least 0 and below 1");
  check_range("--context", s.context, s.context >= 0, "at least 0");
  check_range("--layers", s.layers, s.layers >= 1 && s.layers <= 1000, "1 to 1000");
  check_range("--width", s.width, s.width >= 1 && s.width <= 65536, "1 to 65536");
  check_range("--heads", s.heads, s.heads >= 1 && s.width % s.heads == 0, "a divisor of --width");
  check_range("--kv-heads", s.kv_heads, s.kv_heads >= 0 && (s.kv_heads == 0 || s.heads % s.kv_heads == 0),
              "0 or a divisor of --heads");
  check_range("--norm-eps", s.norm_eps, std::isfinite(s.norm_eps) && s.norm_eps >= 0, "at least 0");
  check_range("--cap", s.cap, std::isfinite(s.cap) && s.cap >= 0, "at least 0");
  check_range("--mix-alpha", s.mix_alpha, s.mix_alpha >= 0 && s.mix_alpha <= 1, "0 to 1");
  check_range("--first-block", s.first_block, s.first_block == "note" || s.first_block == "paper",
              "note or paper");
  check_range("--temperature", s.temperature, s.temperature == "one" || s.temperature == "log2",
              "one or log2");
  check_range("--dropout", s.dropout, s.dropout >= 0 && s.dropout < 1, "at least 0 and below 1");
  check_range("--batch", s.batch, s.batch >= 1, "at least 1");
  check_range("--accumulate", s.accumulate, s.accumulate >= 1, "at least 1");
  check_range("--weight-decay", s.weight_decay, std::isfinite(s.weight_decay) && s.weight_decay >= 0,
              "at least 0");
  check_range("--clip", s.clip, s.clip >= 0, "at least 0");
  check_range("--threads", s.threads, s.threads >= 0 && s.threads <= 1024, "0 to 1024");
}

}  // namespace

void check(const Settings& settings) {
  check_numbers(settings);
  check(loop_settings(settings));
  static_cast<void>(make_schedule(settings));
  static_cast<void>(parse_device(settings.device));
  static_cast<void>(parse_matmul_precision(settings.matmul_precision));
  // Names and combinations are the model's to judge: a smallest one tells.
  GptOptions smallest = gpt_options(settings, 1, 1);
  smallest.layers = 1;
  static_cast<void>(Gpt(smallest));
}

nn::Placement make_placement(const Settings& s, std::int64_t context) {
  const auto& all = nn::placements();
  NORMA_CHECK(
      std::any_of(all.begin(), all.end(), [&](const nn::Placement& p) { return p.name == s.placement; }),
      "--placement: unknown name \"", s.placement, "\"; --list-placements prints all");
  nn::PlacementOptions options{.mix_alpha = s.mix_alpha};
  if (s.cap > 0) options.cap = s.cap;
  if (s.first_block == "paper") options.first_block = nn::FirstBlock::paper;
  if (s.temperature == "log2")
    options.temperature = nn::TemperatureOptions::log2_of_length(std::max<std::int64_t>(2, context));
  return nn::make_placement(s.placement, options);
}

GptOptions gpt_options(const Settings& s, std::int64_t vocabulary, std::int64_t context) {
  const auto given = [](double value) { return value > 0 ? std::optional(value) : std::nullopt; };
  return {.vocabulary = vocabulary,
          .context = context,
          .layers = s.layers,
          .heads = s.heads,
          .kv_heads = s.kv_heads,
          .width = s.width,
          .norm = s.norm,
          .placement = make_placement(s, context),
          .eps = given(s.norm_eps),
          .softcap = given(s.cap),
          .allow_acausal = s.allow_acausal,
          .init = s.init == "auto" ? std::nullopt : std::optional(nn::parse_transformer_init(s.init)),
          .positions = s.positions,
          .activation = s.activation,
          .tied = !s.untied,
          .dropout = s.dropout,
          .recompute = s.recompute};
}

nn::Schedule make_schedule(const Settings& s) {
  return nn::make_schedule(s.schedule,
                           {.lr = s.lr, .min_lr = s.min_lr, .warmup = s.warmup, .total = s.steps});
}

Device parse_device(const std::string& name) {
  if (name == "cpu") return cpu;
  if (name == "reference") return reference;
  NORMA_CHECK(name == "cuda", "--device must be cpu, cuda or reference, got ", name);
  static_cast<void>(backend(cuda));  // throws when this build or this machine has none
  return cuda;
}

LoopSettings loop_settings(const Settings& s) {
  return {.steps = s.steps,
          .stop_at = s.stop_at,
          .eval_every = s.eval_every,
          .probe = s.probe,
          .seconds = s.seconds,
          .log = s.log,
          .checkpoint = s.checkpoint};
}

nn::Metadata to_metadata(const Settings& settings) { return write_settings(settings); }
Settings settings_from(const nn::Metadata& metadata) { return read_settings<Settings>(metadata); }

}  // namespace norma::models
