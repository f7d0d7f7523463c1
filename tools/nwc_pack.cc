// nwc-pack: packs a checkpoint into a container. See nwc-pack --help.
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "tools/atomic_file.h"
#include "tools/checkpoint.h"
#include "tools/codec_file.h"
#include "tools/html_report.h"
#include "tools/input_file.h"
#include "tools/kl_pack.h"
#include "tools/output_folder.h"
#include "tools/pack_arguments.h"
#include "tools/pack_report.h"
#include "tools/pack_statistics.h"
#include "tools/program.h"
#include "tools/progress.h"
#include "tools/recover_pack.h"
#include "tools/report_text.h"
#include "tools/shard_pack.h"
#include "tools/stage_times.h"
#include "tools/stop_signals.h"
#include "tools/work_folder.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

// Whether a message begins with `path` or with a file below it.
bool Names(const std::string& message, const std::string& path) {
  return message.starts_with(path + ":") ||
         message.starts_with(path + (path.ends_with('/') ? "" : "/"));
}

// The same error with `path` in front, unless it names it already.
Status AboutFile(const Status& status, const std::string& path) {
  if (status.ok() || Names(status.message(), path)) return status;
  return status.WithContext(path);
}

// Whether `output` is a file of the checkpoint at `input`.
bool IsInput(const std::string& input, const std::string& output) {
  std::error_code error;
  bool is_input = fs::equivalent(input, output, error);
  if (fs::is_directory(input, error)) {
    for (fs::directory_iterator i(input, error), end; !error && i != end; i.increment(error)) {
      std::error_code unknown;
      // What an earlier run wrote may lie in the folder; it is no part of the checkpoint.
      if (i->path().extension() == ".nwc" || i->path().extension() == ".html") continue;
      is_input = is_input || fs::equivalent(i->path(), output, unknown);
    }
  }
  return is_input && !fs::is_directory(output, error);
}

// Refuses before any work: an output that exists, cannot be, or is one of the inputs.
Status CheckOutput(const PackArguments& arguments) {
  const std::string& output = arguments.output;
  if (IsInput(arguments.input, output)) {
    return Status(ErrorCode::kUsage,
                  output + ": is a file of the input, expected another path; choose a new -o");
  }
  return arguments.shard_bytes == 0 ? CheckOutputPath(output, arguments.force)
                                    : CheckSetOutput(output, arguments.force);
}

Status CheckReport(const PackArguments& a) {
  if (IsInput(a.input, a.report)) {
    return Status(ErrorCode::kUsage, a.report +
                                         ": is a file of the input, expected another path "
                                         "for the page; choose a new --report");
  }
  return CheckPagePath(a.report, a.force,
                       {a.output, a.statistics, a.calibration, a.statistics_output, a.kl_text,
                        a.recover_text, a.codec, a.work});
}

// The page of --report, about what lies at outcome.file now.
Status WritePage(const PackArguments& arguments, const PackOutcome& outcome) {
  if (arguments.report.empty()) return {};
  NWC_ASSIGN_OR_RETURN(const auto model, ModelLoader::Open(outcome.file, {}));
  const Status status =
      WriteReportPage(*model, FactsOf(outcome), {arguments.report, arguments.force});
  return status.ok() ? status : status.WithContext(outcome.file + " is written, its report is not");
}

Status Report(const PackArguments& arguments, const PackOutcome& outcome) {
  const std::string notes = arguments.quiet ? "" : FormatNotes(outcome.report);
  if (arguments.json) {
    std::fputs(notes.c_str(), stderr);
    return PrintOut(FormatReportJson(outcome));
  }
  if (arguments.dry_run) return PrintOut(FormatPlanTable(outcome.report));
  if (arguments.quiet) return {};
  return PrintOut(notes + FormatSummary(outcome));
}

Status DryRun(const PackArguments& arguments, const Checkpoint& checkpoint) {
  const auto report = PlanOnly(checkpoint, arguments.options);
  if (!report.ok()) return AboutFile(report.status(), arguments.input);
  PackOutcome outcome;
  outcome.report = *report;
  return Report(arguments, outcome);
}

// What the parts in a work folder depend on.
Result<std::map<std::string, std::string>> WorkSettings(const PackArguments& a,
                                                        const Checkpoint& checkpoint) {
  NWC_ASSIGN_OR_RETURN(const std::string model, ModelFingerprint(checkpoint));
  std::map<std::string, std::string> settings = {
      {"producer", a.options.producer}, {"model", model}, {"options", a.settings}};
  for (const auto& [name, path] :
       {std::pair{"stats", a.statistics}, std::pair{"calibration", a.calibration},
        std::pair{"kl-text", a.kl_text}, std::pair{"recover-text", a.recover_text},
        std::pair{"codec", a.codec}}) {
    if (path.empty()) continue;
    NWC_ASSIGN_OR_RETURN(const Hash128 hash, HashFile(path));
    settings[name] = ToHex(hash);
  }
  return settings;
}

// Packs once; the report's file is at `output`.
Result<PackReport> PackOnce(const PackArguments& arguments, const PackOptions& options,
                            const Checkpoint& checkpoint, const std::string& output,
                            bool overwrite) {
  NWC_ASSIGN_OR_RETURN(const auto files, checkpoint.ReadFiles());
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(output, overwrite));
  Progress progress(arguments.quiet);
  auto report = Pack(
      checkpoint, files, options, file.get(),
      [&](const PackProgress& p) {
        progress.Update(p.stage, p.tensor, p.bytes_done, p.bytes_total);
      },
      &StopRequested());
  if (report.ok()) return report;
  // The sink's errors name the output, the others are about the input.
  if (Names(report.status().message(), output)) return report.status();
  return AboutFile(report.status(), arguments.input);
}

// PackOnce that adds the time it took, by stage.
PackFunction TimedPack(StageTimes* times) {
  return [times](const PackArguments& arguments, const PackOptions& options,
                 const Checkpoint& checkpoint, const std::string& output,
                 bool overwrite) -> Result<PackReport> {
    NWC_ASSIGN_OR_RETURN(PackReport report,
                         PackOnce(arguments, options, checkpoint, output, overwrite));
    AddStages(report.seconds, times);
    return report;
  };
}

// Packs as --kl, --recover or neither of them asks for.
Result<PackOutcome> PackAsAsked(const PackArguments& arguments, const PackOptions& options,
                                const Checkpoint& checkpoint, StageTimes* times) {
  PackOutcome outcome;
  outcome.file = arguments.output;
  const PackFunction pack = TimedPack(times);
  const Stopwatch watch;
  const double before = times->Sum();
  const auto rest = [&] { return watch.Seconds() - (times->Sum() - before); };
  if (arguments.kl > 0) {
    NWC_ASSIGN_OR_RETURN(KlPack packed, PackForKl(arguments, options, checkpoint, pack));
    outcome.report = std::move(packed.report);
    outcome.kl = packed.kl;
    times->Add("measuring KL", rest());
  } else if (arguments.recover) {
    NWC_ASSIGN_OR_RETURN(RecoveredPack packed,
                         PackAndRecover(arguments, options, checkpoint, pack));
    outcome.report = std::move(packed.report);
    outcome.recovery = packed.figures;
    times->Add("recovery", rest());
  } else {
    NWC_ASSIGN_OR_RETURN(outcome.report,
                         pack(arguments, options, checkpoint, arguments.output, arguments.force));
  }
  return outcome;
}

// `finish`, where there is one, makes more of the container that was written, before the work
// folder goes.
Result<PackOutcome> PackTo(const PackArguments& arguments, const Checkpoint& checkpoint,
                           const std::function<Status()>& finish = {}) {
  const Stopwatch watch;
  StageTimes times;
  std::unique_ptr<WorkFolder> work;
  if (!arguments.work.empty()) {
    NWC_ASSIGN_OR_RETURN(const auto settings, WorkSettings(arguments, checkpoint));
    NWC_ASSIGN_OR_RETURN(work, WorkFolder::Open(arguments.work, settings, arguments.force));
  }
  NWC_ASSIGN_OR_RETURN(const PackStatistics statistics,
                       StatisticsFor(arguments, checkpoint, work.get()));
  if (!arguments.calibration.empty()) times.Add("calibration", watch.Seconds());
  PackOptions options = arguments.options;
  options.statistics = statistics.statistics.get();
  if (work != nullptr) options.store = &work->store();
  CodecFile codec;
  if (!arguments.codec.empty()) {
    NWC_ASSIGN_OR_RETURN(codec, ReadCodecFile(arguments.codec));
    options.neural = &codec.model;
  }
  NWC_ASSIGN_OR_RETURN(PackOutcome outcome, PackAsAsked(arguments, options, checkpoint, &times));
  if (finish) {
    const Stopwatch finishing;
    NWC_RETURN_IF_ERROR(finish());
    times.Add("splitting", finishing.Seconds());
  }
  if (work != nullptr) NWC_RETURN_IF_ERROR(work->Remove());
  outcome.seconds = watch.Seconds();
  times.Add("other", outcome.seconds - times.Sum());
  outcome.stages = times.stages();
  return outcome;
}

// Packs into a folder of its own beside the output, then splits what is there.
Result<PackOutcome> PackShards(const PackArguments& arguments, const Checkpoint& checkpoint) {
  NWC_ASSIGN_OR_RETURN(const auto parts, OutputFolder::Create(arguments.output + ".parts", false));
  PackArguments one = arguments;
  one.output = (fs::path(parts->temporary()) / "whole.nwc").string();
  WrittenSet set;
  NWC_ASSIGN_OR_RETURN(PackOutcome outcome, PackTo(one, checkpoint, [&]() -> Status {
                         NWC_ASSIGN_OR_RETURN(
                             set, WriteShards(one.output, parts->temporary(), arguments.output,
                                              arguments.shard_bytes, arguments.force));
                         return {};
                       }));
  outcome.file = set.index;
  outcome.shards = set.files;
  outcome.report.file_bytes = set.bytes;
  return outcome;
}

Status Run(const PackArguments& arguments) {
  if (!arguments.output.empty()) NWC_RETURN_IF_ERROR(CheckOutput(arguments));
  if (!arguments.report.empty()) NWC_RETURN_IF_ERROR(CheckReport(arguments));
  NWC_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(arguments.input));
  if (!arguments.quiet && !checkpoint->note().empty()) {
    std::fprintf(stderr, "note: %s\n", Printable(checkpoint->note()).c_str());
  }
  if (arguments.dry_run) return DryRun(arguments, *checkpoint);
  NWC_ASSIGN_OR_RETURN(const PackOutcome outcome, arguments.shard_bytes == 0
                                                      ? PackTo(arguments, *checkpoint)
                                                      : PackShards(arguments, *checkpoint));
  NWC_RETURN_IF_ERROR(WritePage(arguments, outcome));
  return Report(arguments, outcome);
}

Status Main(const std::vector<std::string>& command_line) {
  const auto command = ParsePackArguments(command_line);
  if (!command.ok()) return command.status().WithContext("command line");
  if (!command->arguments) return PrintOut(command->text);
  InstallStopSignals();
  return Run(*command->arguments);
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) { return nwc::RunProgram("nwc-pack", argc, argv, nwc::Main); }
