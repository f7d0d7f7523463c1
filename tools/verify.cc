#include "tools/verify.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/container_check.h"
#include "tools/display.h"
#include "tools/open_container.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostProblemLines = 20;

struct Outcome {
  CheckReport report;
  std::string root_hash;  // empty when the container does not open
  double seconds = 0;
};

// Tensors and files that are damaged, each once.
std::set<std::string> Damaged(const CheckReport& report) {
  std::set<std::string> names;
  for (const Problem& p : report.problems) {
    if (!p.tensor.empty()) names.insert("tensor " + Quote(p.tensor));
    if (!p.file.empty()) names.insert("file " + Quote(p.file));
  }
  return names;
}

Json ProblemJson(const Problem& p) {
  Json json;
  json["rule"] = "R" + std::to_string(p.rule);
  json["tensor"] = p.tensor.empty() ? Json(nullptr) : Json(p.tensor);
  json["chunk"] = p.chunk ? Json(*p.chunk) : Json(nullptr);
  json["file"] = p.file.empty() ? Json(nullptr) : Json(p.file);
  json["byte"] = p.byte ? Json(*p.byte) : Json(nullptr);
  json["message"] = p.message;
  return json;
}

std::string FormatJson(const VerifyArguments& arguments, const Outcome& outcome) {
  const CheckReport& report = outcome.report;
  Json json;
  json["file"] = arguments.file;
  json["ok"] = report.problems.empty();
  json["deep"] = arguments.deep;
  json["root_hash"] = outcome.root_hash.empty() ? Json(nullptr) : Json(outcome.root_hash);
  json["tensors"] = report.tensors;
  json["chunks"] = report.chunks;
  json["files"] = report.files;
  json["hashed_bytes"] = report.hashed_bytes;
  json["padding_bytes"] = report.padding_bytes;
  json["decoded_bytes"] = report.decoded_bytes;
  json["seconds"] = outcome.seconds;
  json["undecoded"] = report.undecoded;
  json["problems"] = Json::array();
  for (const Problem& p : report.problems) json["problems"].push_back(ProblemJson(p));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FormatText(const VerifyArguments& arguments, const Outcome& outcome) {
  const CheckReport& report = outcome.report;
  std::string text;
  const size_t shown = std::min(report.problems.size(), kMostProblemLines);
  for (size_t i = 0; i < shown; ++i) {
    const Problem& p = report.problems[i];
    text += "R" + std::to_string(p.rule) + ": " + Printable(p.message) + "\n";
  }
  if (shown < report.problems.size()) {
    text += "... and " + std::to_string(report.problems.size() - shown) + " more; see --json\n";
  }
  for (const std::string& name : report.undecoded) {
    text += "note: tensor " + Quote(name) + " is of a profile newer than this nwc: not decoded\n";
  }
  if (!report.problems.empty()) return text;
  return text + arguments.file + ": good: " + std::to_string(report.tensors) + " tensors, " +
         std::to_string(report.chunks) + " chunks and " + std::to_string(report.files) +
         " files match their hashes, padding is zero" +
         (!arguments.deep            ? ""
          : report.undecoded.empty() ? ", every tensor decodes to its hash"
                                     : ", every other tensor decodes to its hash") +
         "; " + FormatBytes(report.hashed_bytes) + " in " + FormatSeconds(outcome.seconds) +
         "; root hash " + outcome.root_hash + "\n";
}

Status Print(const VerifyArguments& arguments, const Outcome& outcome) {
  return PrintOut(arguments.json ? FormatJson(arguments, outcome) : FormatText(arguments, outcome));
}

// A container that does not open has one problem.
Status ReportUnopened(const VerifyArguments& arguments, const Status& status) {
  if (!arguments.json || status.code() != ErrorCode::kCorrupt) return status;
  Outcome outcome;
  outcome.report.problems.push_back({status.rule(), "", {}, "", {}, status.message()});
  NWC_RETURN_IF_ERROR(Print(arguments, outcome));
  return status;
}

Status Verdict(const VerifyArguments& arguments, const CheckReport& report) {
  const bool only_padding = std::all_of(report.problems.begin(), report.problems.end(),
                                        [](const Problem& p) { return p.rule == 31; });
  const std::set<std::string> damaged = Damaged(report);
  std::string what = std::to_string(report.problems.size()) + " problem" +
                     (report.problems.size() == 1 ? "" : "s");
  if (!damaged.empty()) {
    what += ", in " + *damaged.begin();
    if (damaged.size() > 1) what += " and " + std::to_string(damaged.size() - 1) + " more";
  }
  return Status(ErrorCode::kCorrupt,
                arguments.file + ": " + what + ", expected none; " +
                    (only_padding ? "tensors are intact: pack it again to be rid of the message"
                                  : "the file is damaged: fetch or pack it again"));
}

}  // namespace

Status Verify(const VerifyArguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  const auto loader = OpenContainer(arguments.file, {});
  if (!loader.ok()) return ReportUnopened(arguments, loader.status());
  Progress progress(arguments.quiet);
  CheckSettings settings;
  settings.deep = arguments.deep;
  settings.threads = arguments.threads;
  settings.progress = [&](const std::string& item, uint64_t done, uint64_t total) {
    progress.Update(arguments.deep ? "decoding" : "hashing", item, done, total);
  };
  settings.cancel = &StopRequested();
  Outcome outcome;
  NWC_ASSIGN_OR_RETURN(outcome.report, CheckContainer(**loader, settings));
  progress.EndLine();
  outcome.root_hash = ToHex((*loader)->superblock().root_hash);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  NWC_RETURN_IF_ERROR(Print(arguments, outcome));
  return outcome.report.problems.empty() ? Status() : Verdict(arguments, outcome.report);
}

}  // namespace nwc
