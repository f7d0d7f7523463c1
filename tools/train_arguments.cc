#include "tools/train_arguments.h"

#include <CLI/CLI.hpp>

namespace nwc {
namespace {

constexpr const char* kDescription =
    "Learns a codec from the weights of linear layers: the entropy tables of the profile stream\n"
    "(--arch stream), or the neural codec of the profile nwc (--arch nwc). The same checkpoints "
    "and\n"
    "options give the same codec; --arch nwc for the same --threads.";

constexpr const char* kFooter =
    "Examples:\n"
    "  nwc-train Qwen3-8B -o tables.txt\n"
    "  nwc-train Qwen3-8B --arch nwc --preset thin --lambda 145 -o thin.safetensors\n"
    "  nwc-train Qwen3-8B --arch nwc --preset thin --lambda 145 -o thin.safetensors --resume\n"
    "\n"
    "With --arch nwc about 3.2 bits a weight come from --lambda 130, 4 bits from 400; one bit "
    "more\n"
    "takes four times the lambda. FILE.state beside the output keeps the state of the training\n"
    "until it is done.\n"
    "\n"
    "Exit codes:\n"
    "  0 done   1 the data is bad   2 wrong usage, or the training diverges\n"
    "  3 I/O or system error   130, 143 stopped by SIGINT, SIGTERM";

constexpr const char* kStreamGroup = "--arch stream";
constexpr const char* kNeuralGroup = "--arch nwc";

// Options of --arch nwc that replace a value of the preset.
struct NeuralOverrides {
  std::string preset = "thin";
  std::optional<uint16_t> chunk, latents, width;
  std::optional<uint8_t> blocks;
  std::optional<std::vector<double>> rate_weights;
  std::optional<uint64_t> steps, warmup, pool, checkpoint_interval;
  std::optional<uint32_t> batch;
  std::optional<double> learning_rate;
};

struct RawArguments {
  std::string architecture = "stream", device = "cpu";
  NeuralOverrides neural;
  std::optional<double> lambda;
  int threads = 0;
  uint64_t seed = 1;
};

void DeclareCommon(CLI::App* app, TrainArguments* a, RawArguments* raw) {
  app->add_option("checkpoint", a->checkpoints, "Hugging Face folders or .safetensors files")
      ->required();
  app->add_option("-o,--output", a->output, "codec to write: text, or .safetensors of --arch nwc")
      ->required();
  app->add_option("--arch", raw->architecture, "what to train")
      ->check(CLI::IsMember({"stream", "nwc"}))
      ->capture_default_str();
  app->add_option("--lambda", raw->lambda,
                  "stream: squared steps a bit; nwc: weight of the squared error in the loss")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--threads", raw->threads, "0: one a core")->check(CLI::Range(0, 1024));
  app->add_flag("--force", a->force, "replace the output");
  app->add_flag("-q,--quiet", a->quiet, "no progress");
}

void DeclareStream(CLI::App* app, TrainArguments* a) {
  app->add_option("--weights", a->stream.weights, "weights sampled for each table")
      ->group(kStreamGroup)
      ->capture_default_str();
  app->add_option("--rounds", a->stream.rounds, "searches, each with the tables of the last")
      ->check(CLI::Range(1, 100))
      ->group(kStreamGroup)
      ->capture_default_str();
  // By name: the help would print the values of the enumeration, which are control characters.
  const auto set = [a](const std::string& name) {
    a->stream.trellis = name == "scalar" ? TrellisId::kScalar
                        : name == "4"    ? TrellisId::kFourStates
                                         : TrellisId::kEightStates;
  };
  app->add_option_function<std::string>("--trellis", set, "scalar, or so many states")
      ->check(CLI::IsMember({"scalar", "4", "8"}))
      ->default_str("8")
      ->group(kStreamGroup);
}

void DeclareNeural(CLI::App* app, TrainArguments* a, RawArguments* raw) {
  NeuralOverrides& n = raw->neural;
  const auto add = [&](const char* name, auto& value, const char* help) {
    return app->add_option(name, value, help)->group(kNeuralGroup);
  };
  add("--preset", n.preset,
      "published: width 512, chunks of 16; thin: width 16, chunks of 4, 1/200 of the work")
      ->check(CLI::IsMember({"published", "thin"}))
      ->capture_default_str();
  add("--chunk", n.chunk, "weights a chunk");
  add("--latents", n.latents, "latents a chunk");
  add("--width", n.width, "of the hidden layers");
  add("--blocks", n.blocks, "residual blocks of each net");
  add("--rate-weights", n.rate_weights, "weight of the rate for each quality, lowest first");
  add("--steps", n.steps, "of Adam");
  add("--batch", n.batch, "chunks a step");
  add("--learning-rate", n.learning_rate, "the highest");
  add("--warmup", n.warmup, "steps until the learning rate is at its highest");
  add("--sample", n.pool, "weights sampled from the checkpoints");
  add("--device", raw->device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  add("--seed", raw->seed, "another seed gives another codec")->capture_default_str();
  add("--log", a->log, "FILE: appends the course of the training as JSON lines");
  add("--checkpoint-interval", n.checkpoint_interval, "steps between states kept");
  app->add_flag("--resume", a->resume, "go on from the state of a run that was interrupted")
      ->group(kNeuralGroup);
}

template <typename From, typename To>
void Replace(const std::optional<From>& from, To* to) {
  if (from) *to = *from;
}

Status Interpret(const RawArguments& raw, TrainArguments* a) {
  const NeuralOverrides& n = raw.neural;
  NWC_ASSIGN_OR_RETURN(a->neural, NeuralPreset(n.preset));
  NeuralTrainingOptions& o = a->neural;
  Replace(n.chunk, &o.chunk);
  Replace(n.latents, &o.latents);
  Replace(n.width, &o.width);
  Replace(n.blocks, &o.blocks);
  Replace(n.rate_weights, &o.rate_weights);
  Replace(n.steps, &o.steps);
  Replace(n.batch, &o.batch);
  Replace(n.learning_rate, &o.learning_rate);
  Replace(n.warmup, &o.warmup_steps);
  Replace(n.pool, &o.pool_weights);
  Replace(n.checkpoint_interval, &o.checkpoint_interval);
  o.seed = raw.seed;
  o.device = raw.device == "cuda" ? Device::kCuda : Device::kCpu;
  a->stream.threads = o.threads = raw.threads;
  const bool neural = raw.architecture == "nwc";
  a->architecture = neural ? TrainArchitecture::kNeural : TrainArchitecture::kStream;
  if (raw.lambda && neural) o.lambda = *raw.lambda;
  if (raw.lambda && !neural) a->stream.lambda = *raw.lambda;
  return neural ? CheckNeuralTrainingOptions(o) : Status();
}

// An option of one architecture given with the other would be ignored in silence.
Status CheckGroups(const CLI::App& app, const std::string& architecture) {
  const char* foreign = architecture == "nwc" ? kStreamGroup : kNeuralGroup;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group() != foreign || option->count() == 0) continue;
    return Status(ErrorCode::kUsage, option->get_name() + " belongs to " + foreign +
                                         ", expected options of --arch " + architecture);
  }
  return {};
}

}  // namespace

Result<TrainCommand> ParseTrainArguments(const std::vector<std::string>& command_line) {
  TrainArguments arguments;
  RawArguments raw;
  CLI::App app(kDescription, "nwc-train");
  app.footer(kFooter);
  DeclareCommon(&app, &arguments, &raw);
  DeclareStream(&app, &arguments);
  DeclareNeural(&app, &arguments, &raw);
  try {
    std::vector<std::string> reversed(command_line.rbegin(), command_line.rend());
    app.parse(std::move(reversed));  // CLI11 takes them from the back
  } catch (const CLI::CallForHelp&) {
    return TrainCommand{std::nullopt, app.help()};
  } catch (const CLI::Error& e) {
    return Status(ErrorCode::kUsage, std::string(e.what()) + "; see nwc-train --help");
  }
  NWC_RETURN_IF_ERROR(CheckGroups(app, raw.architecture));
  NWC_RETURN_IF_ERROR(Interpret(raw, &arguments));
  return TrainCommand{std::move(arguments), ""};
}

}  // namespace nwc
