#include "tools/kl_pack.h"

#include <utility>

#include "tools/kl_search.h"

#ifdef NWC_WITH_TORCH
#include <filesystem>
#include <optional>

#include "encoder/evaluation.h"
#include "tools/atomic_file.h"
#include "tools/model_config_file.h"
#include "tools/packed_source.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"
#include "tools/tokens.h"
#include "tools/trial_file.h"
#include "tools/work_folder.h"
#endif

namespace nwc {

#ifdef NWC_WITH_TORCH
namespace {

namespace fs = std::filesystem;

// The evaluator of --kl-text.
Result<std::unique_ptr<Evaluator>> OpenEvaluator(const PackArguments& arguments,
                                                 const Checkpoint& checkpoint,
                                                 const EvaluationCallback& tell) {
  NWC_ASSIGN_OR_RETURN(const std::string config, ReadModelConfig(arguments.input));
  NWC_ASSIGN_OR_RETURN(const ModelFacts facts, DescribeModel(config));
  if (facts.encoder) {
    return Status(ErrorCode::kUsage, "--kl is for language models; this one gives embeddings");
  }
  TokenRequest request;
  request.path = arguments.kl_text;
  request.model_folder = arguments.input;
  request.windows = arguments.kl_windows;
  request.length = std::min(request.length, facts.max_length);
  NWC_ASSIGN_OR_RETURN(const TokenWindows windows, ReadTokens(request));
  const EvaluationOptions options{arguments.options.threads,
                                  arguments.cuda ? Device::kCuda : Device::kCpu};
  return Evaluator::Create(config, checkpoint, windows, options, tell, &StopRequested());
}

}  // namespace

Result<KlPack> PackForKl(const PackArguments& arguments, const PackOptions& options,
                         const Checkpoint& checkpoint, const PackFunction& pack) {
  Progress progress(arguments.quiet);
  const EvaluationCallback tell = [&](const EvaluationProgress& p) {
    progress.Update(p.stage, p.item, p.done, p.total);
  };
  NWC_ASSIGN_OR_RETURN(const auto evaluator, OpenEvaluator(arguments, checkpoint, tell));
  const TrialFile trial(arguments.output);
  double packed_bits = 0;  // of what the trial file holds
  KlPack last;
  const auto pack_at = [&](double bits) -> Status {
    PackOptions at = options;
    at.bits = bits;
    PackStore store;
    if (options.store != nullptr) {
      store = Prefixed(*options.store, "bits-" + FormatNumber("%.6f", bits) + "-");
      at.store = &store;
    }
    NWC_ASSIGN_OR_RETURN(last.report, pack(arguments, at, checkpoint, trial.path(), true));
    packed_bits = bits;
    return {};
  };
  const auto measure = [&](double bits) -> Result<double> {
    NWC_RETURN_IF_ERROR(pack_at(bits));
    NWC_ASSIGN_OR_RETURN(const PackedModel packed,
                         OpenPacked(trial.path(), arguments.options.threads));
    NWC_ASSIGN_OR_RETURN(const Evaluation found,
                         evaluator->Evaluate(packed.source.get(), tell, &StopRequested()));
    return found.kl;
  };
  NWC_ASSIGN_OR_RETURN(const KlTrial best, FindBitsForKl(arguments.kl, options.bits, measure));
  if (best.bits != packed_bits) NWC_RETURN_IF_ERROR(pack_at(best.bits));
  NWC_RETURN_IF_ERROR(CheckOutputPath(arguments.output, arguments.force));
  std::error_code error;
  fs::rename(trial.path(), arguments.output, error);
  if (error) return Status(ErrorCode::kIo, arguments.output + ": " + error.message());
  last.kl = best.kl;
  return last;
}

#else

Result<KlPack> PackForKl(const PackArguments&, const PackOptions&, const Checkpoint&,
                         const PackFunction&) {
  return Status(ErrorCode::kUsage,
                "this nwc-pack was built without LibTorch, which --kl needs; give --bits, or build "
                "with -DNWC_TORCH=ON");
}

#endif

}  // namespace nwc
