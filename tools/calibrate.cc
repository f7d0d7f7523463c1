#include "tools/calibrate.h"

#include "tools/model_config_file.h"
#include "tools/statistics_file.h"
#include "tools/statistics_writer.h"
#include "tools/stop_signals.h"
#include "tools/tokens.h"

namespace nwc {
Result<TokenWindows> ReadCalibrationTokens(const CalibrationRequest& request,
                                           const ModelFacts& facts) {
  TokenRequest tokens = RequestFor(facts, request.windows, request.length, 32, 512);
  tokens.path = request.text;
  tokens.model_folder = request.model;
  return ReadTokens(tokens);
}

Status CalibrateToFile(const CalibrationRequest& request, const Checkpoint& checkpoint,
                       Progress* progress) {
  NWC_ASSIGN_OR_RETURN(const std::string config, ReadModelConfig(request.model));
  NWC_ASSIGN_OR_RETURN(const ModelFacts facts, DescribeModel(config));
  NWC_ASSIGN_OR_RETURN(const TokenWindows windows, ReadCalibrationTokens(request, facts));
  size_t name_bytes = 0;
  for (const SourceTensor& t : checkpoint.tensors()) name_bytes += t.name.size();
  NWC_ASSIGN_OR_RETURN(const auto writer,
                       StatisticsWriter::Create(request.output, request.overwrite,
                                                checkpoint.tensors().size(), name_bytes));
  NWC_RETURN_IF_ERROR(Calibrate(
      config, checkpoint, windows, request.options,
      [&](const CalibratedLinear& linear) { return writer->Add(linear); },
      [&](const EvaluationProgress& p) { progress->Update(p.stage, p.item, p.done, p.total); },
      &StopRequested()));
  NWC_ASSIGN_OR_RETURN(const std::string fingerprint, ModelFingerprint(checkpoint));
  return writer->Finish({{"model", fingerprint},
                         {"tokens", std::to_string(windows.ids.size())},
                         {"seed", std::to_string(request.options.seed)}});
}

}  // namespace nwc
