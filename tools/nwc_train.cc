// nwc-train: learns the entropy tables of the `stream` codec from checkpoints.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "encoder/table_training.h"
#include "format/default_codec.h"
#include "tools/atomic_file.h"
#include "tools/checkpoint.h"
#include "tools/program.h"
#include "tools/progress.h"

namespace nwc {
namespace {

struct TrainArguments {
  std::vector<std::string> checkpoints;
  std::string output;
  TrainingOptions training;
  bool force = false, quiet = false;
};

Status WriteText(const std::string& path, bool force, const std::string& text) {
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path, force));
  NWC_RETURN_IF_ERROR(file->Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  return file->Commit({});
}

void PrintReport(const TrainingResult& result) {
  std::printf("on columns that were not trained on; gap to the Gaussian bound in bits a weight\n");
  std::printf("%4s %8s %8s %10s %9s\n", "t", "bits", "gap", "escapes", "alphabet");
  for (const TableQuality& q : result.validation) {
    std::printf("%4d %8.4f %8.4f %10.2e %4d/%-4d\n", q.t, q.bits, q.gap, q.escape_rate,
                result.tables.alphabet(q.t, 0), result.tables.alphabet(q.t, 1));
  }
}

Status Train(const TrainArguments& arguments) {
  std::vector<std::unique_ptr<Checkpoint>> opened;
  std::vector<const TensorSource*> sources;
  for (const std::string& path : arguments.checkpoints) {
    NWC_ASSIGN_OR_RETURN(auto checkpoint, Checkpoint::Open(path));
    sources.push_back(checkpoint.get());
    opened.push_back(std::move(checkpoint));
  }
  Progress progress(arguments.quiet);
  NWC_ASSIGN_OR_RETURN(const TrainingResult result,
                       TrainTables(sources, arguments.training, [&](uint64_t done, uint64_t total) {
                         progress.Update("training", "tables", done, total);
                       }));
  const std::string comment =
      "Entropy tables of the stream codec: t q F_0 F_1 ... (spec/codec.md 3)."
      "\nMade by nwc-train; see CONTRIBUTING.md for the command.";
  NWC_RETURN_IF_ERROR(
      WriteText(arguments.output, arguments.force, FormatCodecText(result.tables, comment)));
  if (!arguments.quiet) PrintReport(result);
  return {};
}

int Main(int argc, char** argv) {
  TrainArguments arguments;
  CLI::App app{
      "Learns the entropy tables of the stream codec from the linear tensors of checkpoints.\n"
      "The same checkpoints and options give the same tables, whatever --threads."};
  std::string architecture = "stream";
  app.add_option("checkpoint", arguments.checkpoints, "Hugging Face folders or .safetensors files")
      ->required();
  app.add_option("-o,--output", arguments.output, "codec text to write")->required();
  app.add_option("--arch", architecture, "what to train")->check(CLI::IsMember({"stream"}));
  app.add_option("--weights", arguments.training.weights, "weights sampled for each table")
      ->capture_default_str();
  app.add_option("--rounds", arguments.training.rounds,
                 "searches, each with the tables of the last")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--lambda", arguments.training.lambda, "squared steps a bit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  const std::map<std::string, TrellisId> trellises = {{"scalar", TrellisId::kScalar},
                                                      {"4", TrellisId::kFourStates},
                                                      {"8", TrellisId::kEightStates}};
  app.add_option("--trellis", arguments.training.trellis, "scalar, 4 or 8 states")
      ->transform(CLI::CheckedTransformer(trellises));
  app.add_option("--threads", arguments.training.threads, "0: one a core")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--force", arguments.force, "replace the output");
  app.add_flag("-q,--quiet", arguments.quiet);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : ExitCode(ErrorCode::kUsage);
  }
  const Status status = Train(arguments);
  return status.ok() ? 0 : Fail("nwc-train", status);
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) { return nwc::Main(argc, argv); }
