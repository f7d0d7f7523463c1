#include "tools/train_neural.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tools/atomic_file.h"
#include "tools/codec_file.h"
#include "tools/input_file.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"
#include "tools/train_report.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxStateBytes = 4ull << 30;

Status WriteFile(const std::string& path, bool overwrite, ByteSpan bytes) {
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path, overwrite));
  NWC_RETURN_IF_ERROR(file->Append(bytes));
  return file->Commit({});
}

// The state to go on from; empty to begin anew.
Result<std::vector<uint8_t>> ReadState(const TrainArguments& arguments, const std::string& path) {
  std::vector<uint8_t> state;
  std::error_code error;
  if (!fs::exists(path, error)) return state;
  if (!arguments.resume) {
    if (arguments.force) return state;
    return Status(ErrorCode::kUsage,
                  path +
                      ": the state of a training that was interrupted; go on with --resume, or "
                      "begin anew with --force");
  }
  NWC_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  if (file.size() > kMaxStateBytes) return Status(ErrorCode::kCorrupt, path + ": is too long");
  state.resize(file.size());
  NWC_RETURN_IF_ERROR(file.Read(0, state));
  return state;
}

// Appends lines, each at once. Does nothing without a path.
class Log {
 public:
  explicit Log(const std::string& path) : path_(path) {
    if (!path.empty()) stream_.open(path, std::ios::app);
  }
  void Write(const std::string& line) {
    if (!path_.empty()) stream_ << line << std::flush;
  }
  [[nodiscard]] Status Check() const {
    if (path_.empty() || stream_) return {};
    return Status(ErrorCode::kIo, path_ + ": cannot write the log");
  }

 private:
  std::string path_;
  std::ofstream stream_;
};

}  // namespace

Status TrainNeuralCodec(const std::vector<const TensorSource*>& sources,
                        const TrainArguments& arguments) {
  const std::string state_path = arguments.output + ".state";
  NWC_RETURN_IF_ERROR(CheckOutputPath(arguments.output, arguments.force));
  NWC_ASSIGN_OR_RETURN(const std::vector<uint8_t> state, ReadState(arguments, state_path));
  Log log(arguments.log);
  NWC_RETURN_IF_ERROR(log.Check());
  Progress progress(arguments.quiet);
  std::string losses;
  NeuralTrainingHooks hooks;
  hooks.log = [&](const NeuralLogLine& line) {
    losses = FormatNumber("loss %.4f", line.loss);
    log.Write(LogLineJson(line));
  };
  hooks.validation = [&](const NeuralValidation& v) { log.Write(ValidationJson(v)); };
  hooks.progress = [&](uint64_t done, uint64_t total) {
    progress.Update("training", losses, done, total);
  };
  hooks.checkpoint = [&](ByteSpan bytes) {
    NWC_RETURN_IF_ERROR(log.Check());
    return WriteFile(state_path, /*overwrite=*/true, bytes);
  };
  hooks.cancel = &StopRequested();
  auto result = TrainNeural(sources, arguments.neural, state, hooks);
  if (!result.ok()) {
    progress.EndLine();
    if (result.status().code() == ErrorCode::kCancelled && !arguments.quiet) {
      std::fprintf(stderr, "%s keeps the training so far; go on with --resume\n",
                   Printable(state_path).c_str());
    }
    return state.empty() ? result.status() : result.status().WithContext(state_path);
  }
  result->model.synthesis.name = NeuralCodecName(arguments.neural);
  const std::string json = NeuralTrainingJson(arguments.neural, *result);
  NWC_RETURN_IF_ERROR(WriteFile(arguments.output, arguments.force,
                                SerializeCodecFile({std::move(result->model), json})));
  log.Write(json + "\n");
  NWC_RETURN_IF_ERROR(log.Check());
  std::error_code ignored;
  fs::remove(state_path, ignored);
  progress.EndLine();
  return arguments.quiet ? Status() : PrintOut(FormatNeuralReport(*result));
}

}  // namespace nwc
