// nwc-train: learns codecs from checkpoints. See nwc-train --help.
#include <memory>
#include <string>
#include <vector>

#include "encoder/table_training.h"
#include "format/default_codec.h"
#include "tools/atomic_file.h"
#include "tools/checkpoint.h"
#include "tools/program.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"
#include "tools/train_arguments.h"
#include "tools/train_report.h"
#ifdef NWC_WITH_TORCH
#include "tools/train_neural.h"
#endif

namespace nwc {
namespace {

Status WriteText(const std::string& path, bool force, const std::string& text) {
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path, force));
  NWC_RETURN_IF_ERROR(file->Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  return file->Commit({});
}

Status TrainStreamTables(const std::vector<const TensorSource*>& sources,
                         const TrainArguments& arguments) {
  Progress progress(arguments.quiet);
  NWC_ASSIGN_OR_RETURN(const TrainingResult result,
                       TrainTables(sources, arguments.stream, [&](uint64_t done, uint64_t total) {
                         progress.Update("training", "tables", done, total);
                       }));
  const std::string comment =
      "Entropy tables of the stream codec: t q F_0 F_1 ... (spec/codec.md 3)."
      "\nMade by nwc-train; see CONTRIBUTING.md for the command.";
  NWC_RETURN_IF_ERROR(
      WriteText(arguments.output, arguments.force, FormatCodecText(result.tables, comment)));
  progress.EndLine();
  return arguments.quiet ? Status() : PrintOut(FormatTableReport(result));
}

Status Train(const TrainArguments& arguments) {
  std::vector<std::unique_ptr<Checkpoint>> opened;
  std::vector<const TensorSource*> sources;
  for (const std::string& path : arguments.checkpoints) {
    NWC_ASSIGN_OR_RETURN(auto checkpoint, Checkpoint::Open(path));
    sources.push_back(checkpoint.get());
    opened.push_back(std::move(checkpoint));
  }
  if (arguments.architecture == TrainArchitecture::kStream) {
    return TrainStreamTables(sources, arguments);
  }
#ifdef NWC_WITH_TORCH
  return TrainNeuralCodec(sources, arguments);
#else
  return Status(ErrorCode::kUsage,
                "--arch nwc needs LibTorch, and this program was built without it; build with "
                "-DNWC_TORCH=ON");
#endif
}

Status Main(const std::vector<std::string>& command_line) {
  const auto command = ParseTrainArguments(command_line);
  if (!command.ok()) return command.status().WithContext("command line");
  if (!command->arguments) return PrintOut(command->text);
  // Only the long training polls for them.
  if (command->arguments->architecture == TrainArchitecture::kNeural) InstallStopSignals();
  return Train(*command->arguments);
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) { return nwc::RunProgram("nwc-train", argc, argv, nwc::Main); }
