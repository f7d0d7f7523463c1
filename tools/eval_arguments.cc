#include "tools/eval_arguments.h"

#include <CLI/CLI.hpp>

#ifndef NWC_VERSION
#error "define NWC_VERSION, the project's version as a string"
#endif

namespace nwc {
namespace {

constexpr int kMaxThreads = 1024;
constexpr size_t kMaxWindows = 1 << 24, kMaxLength = 1 << 20;

constexpr const char* kDescription =
    "Measures how much a model's answers change when its weights are packed: perplexity and KL of\n"
    "language models, cosines of sentence encoders.";

constexpr const char* kFooter =
    "Examples:\n"
    "  nwc-eval --model Qwen3-8B --packed qwen3-8b.nwc --text evaluation.txt\n"
    "  nwc-eval --model Qwen3-8B --text tokens.safetensors --json\n"
    "\n"
    "Text needs Python (NWC_PYTHON, else python3) with the package tokenizers; a .safetensors "
    "file\n"
    "with input_ids does not.\n"
    "\n"
    "Exit codes:\n"
    "  0 done   1 the data is bad   2 wrong usage   3 I/O or system error\n"
    "  130, 143 stopped by SIGINT, SIGTERM";

void Declare(CLI::App* app, EvalArguments* a, std::string* device) {
  app->add_option("--model", a->model, "folder of the original checkpoint, with config.json")
      ->required();
  app->add_option("--packed", a->packed,
                  "container to compare, or another checkpoint of the same model; may be repeated")
      ->allow_extra_args(false);
  app->add_option("--text", a->text, "text in UTF-8, or .safetensors with input_ids")->required();
  app->add_option("--windows", a->windows,
                  "windows from the beginning of the text (24); sentences for an encoder (256)")
      ->check(CLI::Range(size_t{1}, kMaxWindows));
  app->add_option("--length", a->length,
                  "tokens a window (1024); at most that many a sentence for an encoder (256)")
      ->check(CLI::Range(size_t{1}, kMaxLength));
  app->add_option("--threads", a->options.threads, "0: one a core")
      ->check(CLI::Range(0, kMaxThreads))
      ->capture_default_str();
  app->add_option("--device", *device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app->add_flag("-q,--quiet", a->quiet, "no progress");
  app->add_flag("--json", a->json, "a JSON report on standard output");
}

}  // namespace

Result<EvalCommand> ParseEvalArguments(const std::vector<std::string>& command_line) {
  EvalArguments arguments;
  std::string device = "cpu";
  CLI::App app(kDescription, "nwc-eval");
  app.footer(kFooter);
  app.set_version_flag("--version", "nwc-eval " NWC_VERSION);
  Declare(&app, &arguments, &device);
  try {
    std::vector<std::string> reversed(command_line.rbegin(), command_line.rend());
    app.parse(std::move(reversed));  // CLI11 takes them from the back
  } catch (const CLI::CallForHelp&) {
    return EvalCommand{std::nullopt, app.help()};
  } catch (const CLI::CallForVersion& e) {
    return EvalCommand{std::nullopt, std::string(e.what()) + "\n"};
  } catch (const CLI::Error& e) {
    return Status(ErrorCode::kUsage, std::string(e.what()) + "; see nwc-eval --help");
  }
  arguments.options.device = device == "cuda" ? Device::kCuda : Device::kCpu;
  return EvalCommand{std::move(arguments), ""};
}

}  // namespace nwc
