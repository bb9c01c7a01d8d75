// Settings of a training run of a GPT. Each is named once, in visit_settings: from there come the flags of
// train_gpt, its --help, and what a checkpoint keeps, so that a run is resumed with the settings it had.
#pragma once

#include <cstdint>
#include <string>

#include "core/device.h"
#include "models/gpt.h"
#include "models/run_loop.h"
#include "models/setting_texts.h"
#include "nn/optim/schedule.h"

namespace norma::models {

struct Settings {
  std::string data;                  // a file; empty: addition problems
  std::int64_t digits = 3;           // of the numbers to add
  double validation_fraction = 0.1;  // held out, in [0, 1)

  std::int64_t layers = 4, heads = 4, kv_heads = 0, width = 128;
  std::int64_t context = 0;  // 0: default_context
  std::string norm = "layer", placement = "pre";
  double norm_eps = 0, cap = 0, mix_alpha = 0.25;  // 0: the method's, the placement's
  std::string first_block = "note", temperature = "one", init = "auto";
  bool allow_acausal = false;
  std::string positions = "learned", activation = "gelu";
  bool untied = false;
  double dropout = 0;

  std::int64_t batch = 64, accumulate = 1, steps = 2000;
  double lr = 2e-3, min_lr = 2e-4;
  std::int64_t warmup = 100;
  std::string schedule = "cosine";
  double weight_decay = 0.1, clip = 1;
  std::uint64_t seed = 1;

  std::int64_t threads = 0;  // 0: as many as there are cores
  std::string device = "cpu";
  std::string matmul_precision = "highest";
  bool recompute = false;
  std::int64_t eval_every = 250, probe = 0;
  std::string log = "build/train/log.csv";
  std::string checkpoint = "build/train/gpt.safetensors";
  double seconds = 0;        // 0: no limit
  std::int64_t stop_at = 0;  // 0: at the end
};

/// Calls visit(name, value, on_resume, help) for each setting, in the order of --help. Names are the flags
/// without dashes.
template <SettingsLike<Settings> S, class Visit>
void visit_settings(S& s, Visit&& visit) {
  using enum OnResume;
  visit("data", s.data, keep, "file to train on, read byte by byte; without it: addition of integers");
  visit("digits", s.digits, keep, "digits of the integers to add, 1 to 9");
  visit("validation", s.validation_fraction, keep, "part of the data that is held out, in [0, 1)");
  visit("layers", s.layers, keep, "Transformer blocks");
  visit("heads", s.heads, keep, "attention heads; divides the width");
  visit("kv-heads", s.kv_heads, keep, "heads of keys and values; divides the heads; 0: as many");
  visit("width", s.width, keep, "features of a position");
  visit("context", s.context, keep,
        "positions seen at once; 0: a whole addition problem, or 64 bytes of a file");
  visit("norm", s.norm, keep, "the method; --list-norms prints all");
  visit("placement", s.placement, keep, "where the norms stand; --list-placements prints all");
  visit("norm-eps", s.norm_eps, keep, "eps of the norms; 0: the method's own");
  visit("cap", s.cap, keep, "attention scores become cap * tanh(score / cap); 0: as the placement has it");
  visit("mix-alpha", s.mix_alpha, keep, "part of the layers that placement mix makes Post-Norm, in [0, 1]");
  visit("first-block", s.first_block, keep, "layer 0 of placement hybrid*: note or paper");
  visit("temperature", s.temperature, keep,
        "of placement qk: one (scores / tau, tau from 1) or log2 (g * scores, g from log2(L^2 - L), L the "
        "context)");
  visit("init", s.init, keep,
        "starting values: gpt2, normal, depth-scaled, megatron, xavier or deepnorm; auto: the placement's");
  visit("allow-acausal", s.allow_acausal, keep,
        "allow norms with statistics over positions, with which a position sees later ones");
  visit("positions", s.positions, keep, "learned or rotary");
  visit("activation", s.activation, keep, "gelu, gelu_tanh, relu, silu, tanh, sigmoid, softplus or swiglu");
  visit("untied", s.untied, keep, "give the head weights of its own instead of the embedding's");
  visit("dropout", s.dropout, keep, "probability, in [0, 1)");
  visit("batch", s.batch, keep, "sequences in one forward pass");
  visit("accumulate", s.accumulate, keep, "forward passes in one step");
  visit("steps", s.steps, change, "updates in all");
  visit("lr", s.lr, change, "highest learning rate");
  visit("min-lr", s.min_lr, change, "learning rate at the end");
  visit("warmup", s.warmup, change, "steps until the rate is at its highest");
  visit("schedule", s.schedule, change, "constant, linear, cosine, inverse_sqrt or wsd");
  visit("weight-decay", s.weight_decay, change, "of weights, not of biases and norms");
  visit("clip", s.clip, change, "largest norm of the gradient; 0: no limit");
  visit("seed", s.seed, keep, "of starting values, batches and dropout");
  visit("threads", s.threads, change, "0: all cores");
  visit("device", s.device, change, "cpu, cuda (a GPU), or reference (plain loops, slow)");
  visit("recompute", s.recompute, change,
        "keep the inputs of blocks alone and compute the rest again in the backward pass: less memory, more "
        "time");
  visit("matmul-precision", s.matmul_precision, change,
        "highest (f32), highest_bf16x6, high or medium: what multiplies matrices where there is AMX, bf16 or "
        "TF32");
  visit("eval-every", s.eval_every, change, "steps between evaluations and checkpoints; 0: at the end only");
  visit("probe", s.probe, change,
        "steps between records of every layer's statistics, in the log's name + .probe.csv; 0: none");
  visit("log", s.log, change, "CSV file, one record a step");
  visit("checkpoint", s.checkpoint, change, "file for the model and the state of the run");
  visit("seconds", s.seconds, change, "stop after this time, as if interrupted; 0: no limit");
  visit("stop-at", s.stop_at, change, "stop after this step, as if interrupted; 0: no limit");
}

/// Throws Error naming the flag for a value that is out of range, the checks of models and schedules
/// included.
void check(const Settings& settings);

/// The named placement with the settings' options; throws Error for a name or option that is none.
nn::Placement make_placement(const Settings& settings, std::int64_t context);
GptOptions gpt_options(const Settings& settings, std::int64_t vocabulary, std::int64_t context);
nn::Schedule make_schedule(const Settings& settings);
LoopSettings loop_settings(const Settings& settings);
/// Throws Error for a name that is none, and for cuda where there is no GPU or the build has no CUDA.
Device parse_device(const std::string& name);

/// For a checkpoint's texts and back. Unknown names are skipped, absent ones keep the default; a text that is
/// no number where one belongs throws Error.
nn::Metadata to_metadata(const Settings& settings);
Settings settings_from(const nn::Metadata& metadata);

}  // namespace norma::models
