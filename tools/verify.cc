#include "tools/verify.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "tools/container_check.h"
#include "tools/display.h"
#include "tools/manifest.h"
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
  std::string root_hash;  // empty when the container does not open, and of a set
  std::string io;         // empty when it does not open
  size_t shards = 1;
  std::optional<std::vector<ManifestDifference>> differences;  // from the manifest; if compared
  double seconds = 0;

  [[nodiscard]] bool good() const {
    return report.problems.empty() && (!differences || differences->empty());
  }
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

// Of one shard more.
void AddReport(CheckReport part, CheckReport* sum) {
  std::move(part.problems.begin(), part.problems.end(), std::back_inserter(sum->problems));
  std::move(part.undecoded.begin(), part.undecoded.end(), std::back_inserter(sum->undecoded));
  sum->tensors += part.tensors;
  sum->chunks += part.chunks;
  sum->files += part.files;
  sum->hashed_bytes += part.hashed_bytes;
  sum->padding_bytes += part.padding_bytes;
  sum->decoded_bytes += part.decoded_bytes;
}

Json ProblemJson(const Problem& p) {
  Json json;
  json["rule"] = p.rule == 0 ? Json(nullptr) : Json("R" + std::to_string(p.rule));
  json["tensor"] = p.tensor.empty() ? Json(nullptr) : Json(p.tensor);
  json["chunk"] = p.chunk ? Json(*p.chunk) : Json(nullptr);
  json["file"] = p.file.empty() ? Json(nullptr) : Json(p.file);
  json["byte"] = p.byte ? Json(*p.byte) : Json(nullptr);
  json["message"] = p.message;
  return json;
}

Json ManifestJson(const VerifyArguments& arguments, const Outcome& outcome) {
  Json json;
  json["file"] = arguments.manifest;
  json["compared"] = outcome.differences.has_value();
  json["differences"] = Json::array();
  if (!outcome.differences) return json;
  for (const ManifestDifference& d : *outcome.differences) {
    json["differences"].push_back({{"tensor", d.tensor.empty() ? Json(nullptr) : Json(d.tensor)},
                                   {"file", d.file.empty() ? Json(nullptr) : Json(d.file)},
                                   {"what", d.what},
                                   {"expected", d.expected},
                                   {"got", d.got}});
  }
  return json;
}

std::string FormatJson(const VerifyArguments& arguments, const Outcome& outcome) {
  const CheckReport& report = outcome.report;
  Json json;
  json["file"] = PathForMessages(arguments.file);
  json["ok"] = outcome.good();
  json["deep"] = arguments.deep;
  json["root_hash"] = outcome.root_hash.empty() ? Json(nullptr) : Json(outcome.root_hash);
  json["shards"] = outcome.shards;
  json["tensors"] = report.tensors;
  json["chunks"] = report.chunks;
  json["files"] = report.files;
  json["hashed_bytes"] = report.hashed_bytes;
  json["padding_bytes"] = report.padding_bytes;
  json["decoded_bytes"] = report.decoded_bytes;
  json["seconds"] = outcome.seconds;
  json["io"] = outcome.io.empty() ? Json(nullptr) : Json(outcome.io);
  json["undecoded"] = report.undecoded;
  json["problems"] = Json::array();
  for (const Problem& p : report.problems) json["problems"].push_back(ProblemJson(p));
  if (!arguments.manifest.empty()) json["manifest"] = ManifestJson(arguments, outcome);
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FormatDifferences(const Outcome& outcome) {
  if (!outcome.differences) return "";
  const auto& differences = *outcome.differences;
  const size_t shown = std::min(differences.size(), kMostProblemLines);
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    text += "manifest: " + Printable(Describe(differences[i])) + "\n";
  }
  if (shown < differences.size()) {
    text += "... and " + std::to_string(differences.size() - shown) + " more; see --json\n";
  }
  return text;
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
  text += FormatDifferences(outcome);
  for (const std::string& name : report.undecoded) {
    text += "note: tensor " + Quote(name) + " is of a profile newer than this nwc: not decoded\n";
  }
  if (!outcome.good()) return text;
  return text + PathForMessages(arguments.file) + ": good: " + std::to_string(report.tensors) +
         " tensors, " + std::to_string(report.chunks) + " chunks and " +
         std::to_string(report.files) + " files match their hashes, padding is zero" +
         (!arguments.deep            ? ""
          : report.undecoded.empty() ? ", every tensor decodes to its hash"
                                     : ", every other tensor decodes to its hash") +
         (outcome.differences ? ", all is as the manifest says" : "") + "; " +
         FormatBytes(report.hashed_bytes) + " in " + FormatSeconds(outcome.seconds) +
         (outcome.root_hash.empty() ? "; " + std::to_string(outcome.shards) + " shards"
                                    : "; root hash " + outcome.root_hash) +
         "\n";
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
                PathForMessages(arguments.file) + ": " + what + ", expected none; " +
                    (only_padding ? "tensors are intact: pack it again to be rid of the message"
                                  : "the file is damaged: fetch or pack it again"));
}

Status CompareWithManifest(const Manifest& expected, const ModelLoader& model, Progress* progress,
                           Outcome* outcome) {
  const auto show = [&](const std::string& item, uint64_t done, uint64_t total) {
    progress->Update("comparing with the manifest", item, done, total);
  };
  NWC_ASSIGN_OR_RETURN(const Manifest got, MakeManifest(model, show));
  progress->EndLine();
  outcome->differences = CompareManifests(expected, got);
  return {};
}

Status Differs(const VerifyArguments& arguments, const Outcome& outcome) {
  const auto& differences = *outcome.differences;
  const std::string more =
      differences.size() > 1 ? " and " + std::to_string(differences.size() - 1) + " more" : "";
  return Status(ErrorCode::kCorrupt, PathForMessages(arguments.file) + ": is not what " +
                                         arguments.manifest +
                                         " says: " + Describe(differences.front()) + more +
                                         "; fetch the container that belongs to it");
}

}  // namespace

Status Verify(const VerifyArguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  Manifest manifest;
  if (!arguments.manifest.empty()) {
    NWC_ASSIGN_OR_RETURN(manifest, ReadManifest(arguments.manifest));
  }
  const auto model = OpenModel(arguments.file, arguments.load);
  if (!model.ok()) return ReportUnopened(arguments, model.status());
  Progress progress(arguments.quiet);
  CheckSettings settings;
  settings.deep = arguments.deep;
  settings.threads = arguments.load.threads;
  settings.progress = [&](const std::string& item, uint64_t done, uint64_t total) {
    progress.Update(arguments.deep ? "decoding" : "hashing", item, done, total);
  };
  settings.cancel = &StopRequested();
  Outcome outcome;
  outcome.shards = (*model)->shard_count();
  outcome.io = (*model)->io_description();
  for (size_t i = 0; i < outcome.shards; ++i) {
    NWC_ASSIGN_OR_RETURN(CheckReport report, CheckContainer((*model)->shard(i), settings));
    AddReport(std::move(report), &outcome.report);
  }
  progress.EndLine();
  if (!arguments.manifest.empty() && outcome.report.problems.empty()) {
    NWC_RETURN_IF_ERROR(CompareWithManifest(manifest, **model, &progress, &outcome));
  }
  if (outcome.shards == 1) {
    outcome.root_hash = ToHex((*model)->shard(0).superblock().root_hash);
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  NWC_RETURN_IF_ERROR(Print(arguments, outcome));
  if (!outcome.report.problems.empty()) return Verdict(arguments, outcome.report);
  return outcome.good() ? Status() : Differs(arguments, outcome);
}

}  // namespace nwc
