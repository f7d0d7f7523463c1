#include "tools/pack_arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <regex>
#include <string_view>

#include "format/layout.h"
#include "tools/display.h"
#include "tools/report_text.h"

#ifndef NWC_VERSION
#error "define NWC_VERSION, the project's version as a string"
#endif

namespace nwc {
namespace {

constexpr double kMinBits = 1, kMaxBits = 7;
constexpr int kMaxThreads = 1024;

constexpr const char* kDescription =
    "Packs a checkpoint in safetensors, of PyTorch or in GGUF (not quantised) into one NWC\n"
    "container. Weights of linear layers are coded at a chosen rate, everything else without loss.";

constexpr const char* kFooter =
    "Examples:\n"
    "  nwc-pack Qwen3-8B -o qwen3-8b.nwc\n"
    "  nwc-pack Qwen3-8B -o qwen3-8b.nwc --bits 4 --rule 'down_proj=stream:5' "
    "--rule 'layers\\.0\\.=exact'\n"
    "  nwc-pack Qwen3-8B -o qwen3-8b.nwc --shard-size 2GB\n"
    "\n"
    "Exit codes:\n"
    "  0 done   1 the data is bad   2 wrong usage   3 I/O or system error\n"
    "  130, 143 stopped by SIGINT, SIGTERM";

template <typename Value>
struct Named {
  std::string_view name;
  Value value;
};
constexpr std::array<Named<Profile>, 4> kProfiles = {{{"stream", Profile::kStream},
                                                      {"nwc", Profile::kNwc},
                                                      {"exact", Profile::kExact},
                                                      {"raw", Profile::kRaw}}};
constexpr std::array<Named<TrellisId>, 3> kQuantizers = {{{"scalar", TrellisId::kScalar},
                                                          {"trellis4", TrellisId::kFourStates},
                                                          {"trellis8", TrellisId::kEightStates}}};
constexpr std::array<Named<ImportanceMode>, 5> kImportances = {
    {{"none", ImportanceMode::kNone},
     {"diag", ImportanceMode::kDiagonal},
     {"ldl", ImportanceMode::kLdl},
     {"fisher", ImportanceMode::kFisher},
     {"kronecker", ImportanceMode::kKronecker}}};

template <typename Value, size_t kCount>
std::optional<Value> Find(const std::array<Named<Value>, kCount>& table, std::string_view name) {
  for (const Named<Value>& entry : table) {
    if (entry.name == name) return entry.value;
  }
  return std::nullopt;
}

template <typename Value, size_t kCount>
CLI::IsMember OneOf(const std::array<Named<Value>, kCount>& table) {
  std::vector<std::string> names;
  for (const Named<Value>& entry : table) names.emplace_back(entry.name);
  return CLI::IsMember(names);
}

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

// Values that CLI11 hands over as text, and those that are not part of PackArguments.
struct RawArguments {
  std::string profile = "stream", quantizer = "trellis8", importance = "kronecker", device = "cpu";
  std::vector<std::string> rules;
  bool no_roundtrip = false, no_feedback = false;
};

void DeclareCalibration(CLI::App* app, PackArguments* a, RawArguments* raw) {
  auto* text = app->add_option(
      "--calibration", a->calibration,
      "TEXT or tokens (.safetensors with input_ids) to run the model on first: what matters to its "
      "output is then coded finer");
  app->add_option("--calibration-windows", a->windows,
                  "windows (default 32) or sentences (default 512) to take from its beginning")
      ->check(CLI::Range(1, 1 << 20));
  app->add_option("--calibration-length", a->length, "tokens a window; default 1024")
      ->check(CLI::Range(2, 1 << 20));
  app->add_option("--seed", a->seed, "of the labels drawn in calibration")->capture_default_str();
  app->add_option("--stats-out", a->statistics_output, "FILE to keep the statistics in")
      ->needs(text);
  app->add_option("--stats", a->statistics, "FILE of statistics, in place of --calibration")
      ->excludes(text);
  app->add_option("--device", raw->device, "for --calibration and --recover: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
}

void DeclareRecovery(CLI::App* app, PackArguments* a) {
  auto* recover = app->add_flag(
      "--recover", a->recover,
      "then tune norms and the scales of rows so that the model's answers come nearer the "
      "original's; needs --calibration or --recover-text");
  recover->excludes("--kl");
  app->add_option("--recover-epochs", a->recover_epochs, "passes over its text, at most")
      ->check(CLI::Range(1, 1000))
      ->needs(recover)
      ->capture_default_str();
  app->add_option("--recover-text", a->recover_text,
                  "TEXT or tokens for --recover, in place of that of --calibration")
      ->needs(recover);
}

// Switches that show what each part of the coding gains.
void DeclareComparisons(CLI::App* app, PackArguments* a, RawArguments* raw) {
  app->add_option(
         "--importance", raw->importance,
         "with statistics, steps follow: none of them, diag(H), ldl: the LDL of H, fisher: "
         "gradients too, kronecker: their correlations too, errors fed along rows")
      ->check(OneOf(kImportances))
      ->group("Comparisons")
      ->capture_default_str();
  app->add_flag("--no-feedback", raw->no_feedback, "with statistics, do not feed errors forward")
      ->group("Comparisons");
  app->add_option("--quantizer", raw->quantizer, "scalar, or a trellis of 4 or 8 states")
      ->check(OneOf(kQuantizers))
      ->group("Comparisons")
      ->capture_default_str();
  app->add_option("--lambda", a->options.lambda,
                  "squared steps that a bit is worth in the search; 0: least error")
      ->check(CLI::Range(0.0, 10.0))
      ->group("Comparisons")
      ->capture_default_str();
  app->add_option("--damping", a->options.importance.damping,
                  "added to diag(H), in parts of its mean")
      ->check(CLI::Range(0.0, 10.0))
      ->group("Comparisons")
      ->capture_default_str();
  app->add_option("--row-shrinkage", a->options.importance.row_shrinkage,
                  "part of the gradients' correlations that is not believed")
      ->check(CLI::Range(0.0, 1.0))
      ->group("Comparisons")
      ->capture_default_str();
}

// What is written where, and what is told.
void DeclareOutputs(CLI::App* app, PackArguments* a) {
  auto* dry_run = app->add_flag("--dry-run", a->dry_run,
                                "show what would happen to each tensor, write nothing");
  app->add_option("--report", a->report,
                  "PAGE.html: write a page about the pack, too: bits by layer and kind, errors, "
                  "sizes, where the time went")
      ->excludes(dry_run);
  app->add_option("--shard-size", a->shard_bytes,
                  "write a set of files of at most this size, as 5GB or 512MiB: for -o model.nwc "
                  "model-00001-of-0000N.nwc and so on, and model.nwc.index.json; a larger tensor "
                  "gets a file to itself. Needs the room of the output twice while it runs")
      ->transform(CLI::AsSizeValue(true))
      ->check(CLI::PositiveNumber);
  app->add_flag("--force", a->force, "replace an existing output");
  app->add_flag("-q,--quiet", a->quiet, "no progress, notes or summary");
  app->add_flag("--json", a->json, "a JSON report on standard output");
}

void Declare(CLI::App* app, PackArguments* a, RawArguments* raw) {
  app->add_option(
         "INPUT", a->input,
         "folder of a checkpoint, or one file of weights: .safetensors, .bin or .pt of torch.save, "
         ".gguf")
      ->required();
  app->add_option("-o,--output", a->output, "container to write (not needed with --dry-run)");
  app->add_option(
         "--profile", raw->profile,
         "of linear layers: stream (lossy), nwc (lossy, by a trained net), exact (lossless) or "
         "raw (as it is)")
      ->check(OneOf(kProfiles))
      ->capture_default_str();
  app->add_option("--bits", a->options.bits,
                  "file bits a weight over the stream tensors, 1 to 7; --profile exact for more")
      ->capture_default_str();
  app->add_option("--rule", raw->rules,
                  "REGEX=PROFILE[:BITS] for tensors whose name matches; may be repeated, the last "
                  "match wins")
      ->allow_extra_args(false);
  app->add_option("--include", a->options.include, "REGEX: only tensors whose name matches");
  app->add_option("--exclude", a->options.exclude, "REGEX: no tensors whose name matches");
  app->add_option(
         "--threads", a->options.threads,
         "0: one a core; changes the bytes written only through --calibration and --recover, "
         "whose sums depend on it in their last bits")
      ->check(CLI::Range(0, kMaxThreads))
      ->capture_default_str();
  DeclareOutputs(app, a);
  app->add_flag("--no-roundtrip", raw->no_roundtrip, "do not decode and compare while packing");
  app->add_option("--codec", a->codec,
                  "FILE of nwc-train --arch nwc, for profile nwc; it decides the rate");
  auto* kl =
      app->add_option("--kl", a->kl,
                      "in place of --bits: the fewest bits whose KL divergence to the original, "
                      "in nats a token, stays within this")
          ->check(CLI::Range(1e-5, 10.0));
  auto* kl_text = app->add_option("--kl-text", a->kl_text, "TEXT or tokens to measure --kl on");
  kl->needs(kl_text);
  app->add_option("--kl-windows", a->kl_windows, "windows of 1024 tokens to take from it")
      ->check(CLI::Range(1, 1 << 20))
      ->needs(kl)
      ->capture_default_str();
  app->add_option("--work", a->work,
                  "FOLDER that keeps finished tensors: a pack that was stopped goes on from there");
  DeclareCalibration(app, a, raw);
  DeclareRecovery(app, a);
  DeclareComparisons(app, a, raw);
}

Status CheckBits(double bits, const std::string& where) {
  if (bits >= kMinBits && bits <= kMaxBits) return {};
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", bits);
  return Usage(where + " " + text.data() +
               ": expected 1 to 7 bits a weight; use --profile exact for more");
}

Status CheckRegex(const std::string& regex, const std::string& where) {
  try {
    const std::regex compiled(regex);
    return {};
  } catch (const std::regex_error& e) {
    return Usage(where + ": " + Quote(regex) + " is no regular expression (" + e.what() +
                 "), expected ECMAScript syntax; put '\\' before a literal . ( [ { * + ?");
  }
}

std::string SettingsText(const RawArguments& raw, const PackArguments& a) {
  std::string text = "--profile " + raw.profile + " --quantizer " + raw.quantizer;
  text += " --importance " + raw.importance + (raw.no_feedback ? " --no-feedback" : "");
  const auto number = [&](const char* name, double value) {
    text += std::string(" ") + name + FormatNumber(" %.9g", value);
  };
  number("--bits", a.options.bits);
  number("--kl", a.kl);
  number("--kl-windows", static_cast<double>(a.kl_windows));
  number("--lambda", static_cast<double>(a.options.lambda));
  number("--damping", a.options.importance.damping);
  number("--row-shrinkage", a.options.importance.row_shrinkage);
  number("--calibration-windows", static_cast<double>(a.windows));
  number("--calibration-length", static_cast<double>(a.length));
  number("--seed", static_cast<double>(a.seed));
  if (a.recover) number("--recover-epochs", a.recover_epochs);
  for (const std::string& rule : raw.rules) text += " --rule " + Quote(rule);
  return text + " --include " + Quote(a.options.include) + " --exclude " + Quote(a.options.exclude);
}

Status Interpret(const RawArguments& raw, PackArguments* a) {
  a->options.profile = Find(kProfiles, raw.profile).value_or(Profile::kStream);
  a->options.trellis = Find(kQuantizers, raw.quantizer).value_or(TrellisId::kEightStates);
  a->options.importance.mode =
      Find(kImportances, raw.importance).value_or(ImportanceMode::kKronecker);
  a->options.importance.feedback = !raw.no_feedback;
  a->cuda = raw.device == "cuda";
  a->options.roundtrip = !raw.no_roundtrip;
  a->options.producer = PackProducer();
  a->settings = SettingsText(raw, *a);
  NWC_RETURN_IF_ERROR(CheckBits(a->options.bits, "--bits"));
  NWC_RETURN_IF_ERROR(CheckRegex(a->options.include, "--include"));
  NWC_RETURN_IF_ERROR(CheckRegex(a->options.exclude, "--exclude"));
  for (const std::string& text : raw.rules) {
    NWC_ASSIGN_OR_RETURN(PackRule rule, ParsePackRule(text));
    a->options.rules.push_back(std::move(rule));
  }
  const bool neural = a->options.profile == Profile::kNwc ||
                      std::any_of(a->options.rules.begin(), a->options.rules.end(),
                                  [](const PackRule& r) { return r.profile == Profile::kNwc; });
  if (neural && a->codec.empty()) {
    return Usage("--codec is missing, expected a file of nwc-train --arch nwc for profile nwc");
  }
  if (a->recover && a->calibration.empty() && a->recover_text.empty()) {
    return Usage("--recover has no text, expected --calibration TEXT or --recover-text TEXT");
  }
  if (a->output.empty() && !a->dry_run) {
    return Usage("-o is missing, expected the path of the container to write; or use --dry-run");
  }
  return {};
}

// What follows the '=' of a rule; nothing when it does not begin with a profile.
struct RuleTarget {
  Profile profile;
  std::optional<std::string> bits;
};

std::optional<RuleTarget> ParseTarget(const std::string& text) {
  const size_t colon = text.find(':');
  const std::optional<Profile> profile = Find(kProfiles, text.substr(0, colon));
  if (!profile) return std::nullopt;
  if (colon == std::string::npos) return RuleTarget{*profile, std::nullopt};
  return RuleTarget{*profile, text.substr(colon + 1)};
}

Status SetRuleBits(const std::string& bits, const std::string& where, PackRule* rule) {
  if (rule->profile != Profile::kStream) {
    return Usage(where + ": " + ProfileName(rule->profile) +
                 " has no rate, expected bits after 'stream' only");
  }
  const char* end = bits.data() + bits.size();
  const auto [stop, error] = std::from_chars(bits.data(), end, rule->bits);
  if (error != std::errc() || stop != end) {
    return Usage(where + ": " + Quote(bits) + " is no number, expected 1 to 7 bits a weight");
  }
  return CheckBits(rule->bits, where + ":");
}

}  // namespace

std::string PackProducer() { return "nwc-pack " NWC_VERSION; }

Result<PackRule> ParsePackRule(const std::string& text) {
  const std::string where = "--rule " + Quote(text);
  for (size_t at = text.rfind('='); at != std::string::npos && at > 0;
       at = text.rfind('=', at - 1)) {
    const auto target = ParseTarget(text.substr(at + 1));
    if (!target) continue;
    PackRule rule;
    rule.regex = text.substr(0, at);
    rule.profile = target->profile;
    if (target->bits) NWC_RETURN_IF_ERROR(SetRuleBits(*target->bits, where, &rule));
    NWC_RETURN_IF_ERROR(CheckRegex(rule.regex, where));
    return rule;
  }
  return Usage(where + ": expected REGEX=PROFILE or REGEX=PROFILE:BITS with the profile stream, " +
               "nwc, exact or raw");
}

Result<PackCommand> ParsePackArguments(const std::vector<std::string>& command_line) {
  PackArguments arguments;
  RawArguments raw;
  CLI::App app(kDescription, "nwc-pack");
  app.footer(kFooter);
  app.set_version_flag("--version", PackProducer() + " (container " + std::to_string(kMajor) + "." +
                                        std::to_string(kMinor) + ")");
  Declare(&app, &arguments, &raw);
  try {
    std::vector<std::string> reversed(command_line.rbegin(), command_line.rend());
    app.parse(std::move(reversed));  // CLI11 takes them from the back
  } catch (const CLI::CallForHelp&) {
    return PackCommand{std::nullopt, app.help()};
  } catch (const CLI::CallForVersion& e) {
    return PackCommand{std::nullopt, std::string(e.what()) + "\n"};
  } catch (const CLI::Error& e) {
    return Usage(std::string(e.what()) + "; see nwc-pack --help");
  }
  NWC_RETURN_IF_ERROR(Interpret(raw, &arguments));
  return PackCommand{std::move(arguments), ""};
}

}  // namespace nwc
