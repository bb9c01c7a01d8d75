// generate: lets a trained GPT write on, or add.
#include "core/parallel.h"
#include "core/precision.h"
#include "models/answer.h"
#include "models/programs/command_line.h"

int main(int argc, char** argv) {
  using namespace norma;
  using namespace norma::models;
  constexpr const char* program = "generate";
  std::string checkpoint = "build/train/gpt.safetensors", prompt, device = "cpu", precision = "highest";
  std::int64_t tokens = 300;
  std::uint64_t seed = 1;
  int threads = 0;
  bool no_cache = false;
  SamplingOptions sampling{.temperature = 0.8};

  CLI::App app("Continues a prompt with a model of train_gpt; a model of addition answers problems.",
               program);
  const auto add = [&](const char* flag, auto& value, const char* type, const char* help) {
    app.add_option(flag, value, help)->type_name(type)->capture_default_str()->take_last();
  };
  add("--checkpoint", checkpoint, "TEXT", "file that train_gpt wrote");
  add("--prompt", prompt, "TEXT", "text to continue, or a problem such as 12+34");
  add("--tokens", tokens, "NUMBER", "bytes to write");
  add("--temperature", sampling.temperature, "NUMBER", "0: always the likeliest; above 1: bolder");
  add("--top-k", sampling.top_k, "NUMBER", "only the k likeliest; 0: all");
  add("--top-p", sampling.top_p, "NUMBER",
      "only the likeliest that reach this probability together, in (0, 1]");
  add("--seed", seed, "NUMBER", "of the draws");
  add("--device", device, "TEXT", "cpu, cuda (a GPU), or reference (plain loops, slow)");
  add("--matmul-precision", precision, "TEXT",
      "highest (f32), highest_bf16x6, high or medium: what multiplies matrices where there is AMX, bf16 or "
      "TF32");
  add("--threads", threads, "NUMBER", "0: all cores");
  programs::ProfileFlags profile(app);
  app.add_flag("--no-cache", no_cache, "compute keys and values anew for each token (same text, slower)");
  if (const int code = programs::parse(app, program, argc, argv); code >= 0) return code;

  try {
    if (threads != 0) set_num_threads(threads);
    set_matmul_precision(precision);
    TrainedGpt trained = load_gpt(checkpoint, device);
    programs::watch_interrupts();
    if (!trained.settings.data.empty()) std::fputs(prompt.c_str(), stdout);
    Generator generator(seed);
    profile.start();
    answer(trained, prompt, tokens, sampling, !no_cache, generator, [](const std::string& piece) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
      return programs::interrupt_seen == 0;
    });
    std::fputc('\n', stdout);
    profile.finish();
  } catch (const std::exception& error) {
    return programs::complain(program, error.what(), programs::wrong_usage);
  }
  if (std::ferror(stdout) != 0)
    return programs::complain(program, "standard output cannot be written", programs::failure);
  return programs::interrupt_seen != 0 ? programs::interrupted : 0;
}
