#include "tools/recover_pack.h"

#include <utility>

#ifdef NWC_WITH_TORCH
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "encoder/coded_tensor.h"
#include "encoder/evaluation.h"
#include "encoder/packed_container.h"
#include "encoder/recovery.h"
#include "tools/atomic_file.h"
#include "tools/calibrate.h"
#include "tools/input_file.h"
#include "tools/model_config_file.h"
#include "tools/progress.h"
#include "tools/stop_signals.h"
#include "tools/trial_file.h"
#include "tools/work_folder.h"
#endif

namespace nwc {

#ifdef NWC_WITH_TORCH
namespace {

struct Text {
  std::string config;
  bool encoder = false;
  TokenWindows windows;
};

Result<Text> ReadText(const PackArguments& arguments) {
  Text text;
  NWC_ASSIGN_OR_RETURN(text.config, ReadModelConfig(arguments.input));
  NWC_ASSIGN_OR_RETURN(const ModelFacts facts, DescribeModel(text.config));
  text.encoder = facts.encoder;
  CalibrationRequest request;
  request.model = arguments.input;
  request.text = arguments.recover_text.empty() ? arguments.calibration : arguments.recover_text;
  request.windows = arguments.windows;
  request.length = arguments.length;
  NWC_ASSIGN_OR_RETURN(text.windows, ReadCalibrationTokens(request, facts));
  if (text.windows.windows < 2) {  // said now, not after a long pack
    return Status(ErrorCode::kUsage,
                  request.text + ": one window, --recover needs at least 2 windows");
  }
  return text;
}

// Sizes as they are in the file that recovery wrote.
void TakeSizes(const Index& index, uint64_t file_bytes, PackReport* report) {
  const auto weights = static_cast<double>(report->linear_weights);
  double linear_bits = report->linear_bits_per_weight * weights;
  for (size_t i = 0; i < report->tensors.size(); ++i) {
    PackedTensor& t = report->tensors[i];
    const TensorInfo& now = index.tensors[i];
    const uint64_t bytes = now.payload_bytes() + kChunkEntryBytes * now.chunks.size();
    if (t.linear)
      linear_bits += 8 * (static_cast<double>(bytes) - static_cast<double>(t.packed_bytes));
    t.packed_bytes = bytes;
  }
  report->file_bytes = file_bytes;
  if (report->linear_weights != 0) report->linear_bits_per_weight = linear_bits / weights;
}

// Keeps what rate control found, so that a second pack need not search again.
class ChoiceStore {
 public:
  [[nodiscard]] const PackStore& store() const { return store_; }

 private:
  std::map<std::string, std::vector<uint8_t>> parts_;
  const PackStore store_ = {
      [this](const std::string& key) -> Result<std::optional<std::vector<uint8_t>>> {
        const auto found = parts_.find(key);
        if (found == parts_.end()) return std::optional<std::vector<uint8_t>>();
        return std::optional(found->second);
      },
      [this](const std::string& key, ByteSpan part) -> Status {
        if (key.starts_with("choice-")) parts_[key].assign(part.begin(), part.end());
        return {};
      }};
};

// A container packed on trial.
struct Trial {
  explicit Trial(const std::string& output) : file(output) {}
  TrialFile file;
  PackReport report;
  std::optional<InputFile> input;
  std::unique_ptr<PackedContainer> container;
  Recovered found;
};

class RecoveringPack {
 public:
  RecoveringPack(const PackArguments& arguments, const PackOptions& options,
                 const Checkpoint& checkpoint, const PackFunction& pack)
      : arguments_(arguments),
        options_(options),
        checkpoint_(checkpoint),
        pack_(pack),
        store_(options.store != nullptr ? *options.store : choices_.store()),
        progress_(arguments.quiet),
        plain_(arguments.output),
        blocks_(arguments.output + ".blocks") {
    recovery_.threads = options.threads;
    recovery_.device = arguments.cuda ? Device::kCuda : Device::kCpu;
  }

  // The blocks' model is nearly always the better one; the plain model is what it must beat.
  Result<RecoveredPack> Run() {
    NWC_ASSIGN_OR_RETURN(text_, ReadText(arguments_));
    NWC_RETURN_IF_ERROR(PackTo(nullptr, &plain_));
    NWC_ASSIGN_OR_RETURN(const Recovered measured, Tune(plain_, 0, nullptr, nullptr));
    NWC_RETURN_IF_ERROR(TuneBlocks());
    if (blocks_.found.loss_after <= measured.loss_before) {
      return Write(blocks_, measured.loss_before);
    }
    const PackStore store = Prefixed(store_, "plain-");
    NWC_ASSIGN_OR_RETURN(plain_.found, Tune(plain_, arguments_.recover_epochs, nullptr, &store));
    return Write(plain_, measured.loss_before);
  }

 private:
  Status PackTo(WeightTuner* tuner, Trial* trial) {
    PackOptions options = options_;
    options.store = &store_;
    options.tuner = tuner;
    NWC_ASSIGN_OR_RETURN(trial->report,
                         pack_(arguments_, options, checkpoint_, trial->file.path(), true));
    NWC_ASSIGN_OR_RETURN(InputFile opened, InputFile::Open(trial->file.path()));
    const InputFile& input = trial->input.emplace(std::move(opened));
    NWC_ASSIGN_OR_RETURN(trial->container, PackedContainer::Open(
                                               [&input](uint64_t offset, MutableByteSpan out) {
                                                 return input.Read(offset, out);
                                               },
                                               input.size(), options_.threads));
    return {};
  }

  Result<Recovered> Tune(const Trial& trial, int epochs, const Recovered* start,
                         const PackStore* store) {
    RecoveryOptions recovery = recovery_;
    recovery.epochs = epochs;
    recovery.start = start;
    recovery.store = store;
    return Recover(
        text_.config, checkpoint_, *trial.container, text_.windows, recovery,
        [&](const EvaluationProgress& p) { progress_.Update(p.stage, p.item, p.done, p.total); },
        &StopRequested());
  }

  Status TuneBlocks() {
    NWC_ASSIGN_OR_RETURN(const auto tuner,
                         BlockTuner::Create(text_.config, checkpoint_, text_.windows, recovery_, {},
                                            &StopRequested()));
    NWC_RETURN_IF_ERROR(PackTo(tuner.get(), &blocks_));
    NWC_ASSIGN_OR_RETURN(const Recovered start, tuner->Finish());
    NWC_ASSIGN_OR_RETURN(blocks_.found, Tune(blocks_, arguments_.recover_epochs, &start, &store_));
    return {};
  }

  Result<RecoveredPack> Write(const Trial& trial, double before) {
    NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(arguments_.output, arguments_.force));
    NWC_ASSIGN_OR_RETURN(const Index index, trial.container->Rewrite(trial.found, file.get()));
    NWC_ASSIGN_OR_RETURN(const InputFile written, InputFile::Open(arguments_.output));
    RecoveredPack result;
    result.report = trial.report;
    TakeSizes(index, written.size(), &result.report);
    result.figures = {text_.encoder, before, trial.found.loss_after, trial.found.epochs};
    return result;
  }

  const PackArguments& arguments_;
  const PackOptions& options_;
  const Checkpoint& checkpoint_;
  const PackFunction& pack_;
  ChoiceStore choices_;
  const PackStore& store_;
  Progress progress_;
  RecoveryOptions recovery_;
  Text text_;
  Trial plain_, blocks_;
};

}  // namespace

Result<RecoveredPack> PackAndRecover(const PackArguments& arguments, const PackOptions& options,
                                     const Checkpoint& checkpoint, const PackFunction& pack) {
  return RecoveringPack(arguments, options, checkpoint, pack).Run();
}

#else

Result<RecoveredPack> PackAndRecover(const PackArguments&, const PackOptions&, const Checkpoint&,
                                     const PackFunction&) {
  return Status(ErrorCode::kUsage,
                "this nwc-pack was built without LibTorch, which --recover needs; leave it out, or "
                "build with -DNWC_TORCH=ON");
}

#endif

}  // namespace nwc
