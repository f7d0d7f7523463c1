// nwc-eval: measures what packing does to a model's answers. See nwc-eval --help.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "encoder/evaluation.h"
#include "tools/checkpoint.h"
#include "tools/eval_arguments.h"
#include "tools/eval_report.h"
#include "tools/model_config_file.h"
#include "tools/packed_source.h"
#include "tools/program.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"
#include "tools/tokens.h"

namespace nwc {
namespace {

// A missing input is exit 3, whoever reports it.
Status MissingIsIo(const Status& status) {
  if (status.code() != ErrorCode::kNotFound) return status;
  return Status(ErrorCode::kIo, status.message());
}

Result<PackedModel> OpenVersion(const std::string& path, const Checkpoint& original, int threads) {
  NWC_ASSIGN_OR_RETURN(PackedModel packed, OpenPacked(path, threads));
  const Status same = CheckSameTensors(original, *packed.source);
  if (!same.ok()) return same.WithContext(path);
  return packed;
}

// One outcome for each packed version; without any, one for the original.
Result<std::vector<EvalOutcome>> Measure(const EvalArguments& arguments) {
  NWC_ASSIGN_OR_RETURN(const std::string config, ReadModelConfig(arguments.model));
  const auto facts = DescribeModel(config);
  if (!facts.ok()) return facts.status().WithContext(arguments.model);
  const auto original = Checkpoint::Open(arguments.model);
  if (!original.ok()) return MissingIsIo(original.status());
  std::vector<PackedModel> versions;
  for (const std::string& path : arguments.packed) {
    NWC_ASSIGN_OR_RETURN(PackedModel packed,
                         OpenVersion(path, **original, arguments.options.threads));
    versions.push_back(std::move(packed));
  }
  TokenRequest request = RequestFor(*facts, arguments.windows, arguments.length, 24, 256);
  request.path = arguments.text;
  request.model_folder = arguments.model;
  NWC_ASSIGN_OR_RETURN(const TokenWindows windows, ReadTokens(request));
  Progress progress(arguments.quiet);
  const EvaluationCallback tell = [&](const EvaluationProgress& p) {
    progress.Update(p.stage, p.item, p.done, p.total);
  };
  auto begun = std::chrono::steady_clock::now();
  NWC_ASSIGN_OR_RETURN(
      const auto evaluator,
      Evaluator::Create(config, **original, windows, arguments.options, tell, &StopRequested()));
  std::vector<EvalOutcome> outcomes;
  for (size_t i = 0; i < std::max<size_t>(1, versions.size()); ++i) {
    const bool any = i < versions.size();
    NWC_ASSIGN_OR_RETURN(
        const Evaluation evaluation,
        evaluator->Evaluate(any ? versions[i].source.get() : nullptr, tell, &StopRequested()));
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> seconds = now - begun;
    begun = now;
    outcomes.push_back({arguments.model, any ? arguments.packed[i] : "", evaluation,
                        any ? versions[i].bits : std::nullopt, seconds.count()});
  }
  return outcomes;
}

Status Main(const std::vector<std::string>& command_line) {
  const auto command = ParseEvalArguments(command_line);
  if (!command.ok()) return command.status().WithContext("command line");
  if (!command->arguments) return PrintOut(command->text);
  InstallStopSignals();
  NWC_ASSIGN_OR_RETURN(const std::vector<EvalOutcome> outcomes, Measure(*command->arguments));
  if (command->arguments->json) return PrintOut(FormatEvalJson(outcomes));
  std::string text;
  for (const EvalOutcome& outcome : outcomes) {
    text += (text.empty() ? "" : "\n") + FormatEvalTable(outcome);
  }
  return PrintOut(text);
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) { return nwc::RunProgram("nwc-eval", argc, argv, nwc::Main); }
