#include "tools/pack_report.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tools/display.h"
#include "tools/report_text.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

double BitsPerWeight(const PackedTensor& t) {
  return 8 * static_cast<double>(t.packed_bytes) / static_cast<double>(t.weights);
}

std::string PercentOf(uint64_t from, uint64_t to) {
  if (from == 0) return "-";
  return FormatNumber("%.1f %%", 100 * static_cast<double>(to) / static_cast<double>(from));
}

Json TensorJson(const PackedTensor& t) {
  Json json;
  json["name"] = t.name;
  json["dtype"] = DTypeName(t.dtype);
  json["shape"] = t.shape;
  json["profile"] = ProfileName(t.profile);
  json["linear"] = t.linear;
  json["weights"] = t.weights;
  json["source_bytes"] = t.source_bytes;
  json["packed_bytes"] = t.packed_bytes;
  json["bits_per_weight"] = t.weights == 0 ? Json(nullptr) : Json(BitsPerWeight(t));
  json["relative_mse"] = t.relative_mse;
  json["kl_estimate"] = t.kl;
  json["note"] = t.note;
  return json;
}

Json RecoveryJson(const RecoveryFigures& r) {
  Json json;
  json["measure"] = r.encoder ? "1 - cosine" : "kl";
  json["before"] = r.before;
  json["after"] = r.after;
  json["epochs"] = r.epochs;
  return json;
}

}  // namespace

std::string FormatPlanTable(const PackReport& report) {
  std::vector<Row> rows = {
      {"tensor", "shape", "dtype", "profile", "bits", "before", "after", "note"}};
  for (const PackedTensor& t : report.tensors) {
    rows.push_back({PlainName(t.name), FormatShape(t.shape), DTypeName(t.dtype),
                    ProfileName(t.profile),
                    t.weights == 0 ? "-" : FormatNumber("%.2f", BitsPerWeight(t)),
                    FormatBytes(t.source_bytes), FormatBytes(t.packed_bytes), t.note});
  }
  return AlignColumns(rows, "llllrrr") + "total: " + std::to_string(report.tensors.size()) +
         " tensors, " + FormatBytes(report.source_bytes) + " -> about " +
         FormatBytes(report.file_bytes) + " (" + PercentOf(report.source_bytes, report.file_bytes) +
         ")" +
         (report.linear_weights == 0 ? ""
                                     : FormatNumber(", %.3f bits a weight of linear tensors",
                                                    report.linear_bits_per_weight)) +
         "; nothing was written\n";
}

PackFacts FactsOf(const PackOutcome& outcome) {
  PackFacts facts;
  facts.stages = outcome.stages;
  for (const PackedTensor& t : outcome.report.tensors) {
    facts.errors[t.name] = {t.relative_mse, t.kl};
    if (!t.note.empty()) facts.remarks.push_back(PlainName(t.name) + ": " + t.note);
  }
  if (outcome.kl) {
    facts.remarks.push_back(
        FormatNumber("KL divergence to the original, measured: %.4g nats a token.", *outcome.kl));
  }
  if (outcome.recovery) {
    facts.remarks.push_back("Errors and KL estimates of tensors are those before recovery.");
  }
  return facts;
}

void AddStages(const PackSeconds& seconds, StageTimes* times) {
  for (const auto& [stage, value] :
       {std::pair{"analysis", seconds.analysis}, std::pair{"rate control", seconds.rate_control},
        std::pair{"reading", seconds.reading}, std::pair{"tuning of blocks", seconds.tuning},
        std::pair{"coding and checking", seconds.coding}, std::pair{"writing", seconds.writing}}) {
    if (value > 0) times->Add(stage, value);
  }
}

std::string FormatReportJson(const PackOutcome& outcome) {
  const PackReport& report = outcome.report;
  Json json;
  json["file"] = outcome.file.empty() ? Json(nullptr) : Json(outcome.file);
  json["dry_run"] = outcome.file.empty();
  json["file_bytes"] = report.file_bytes;
  json["source_bytes"] = report.source_bytes;
  json["seconds"] = outcome.seconds;
  json["stages"] = Json::array();
  for (const StageSeconds& s : outcome.stages) {
    json["stages"].push_back({{"stage", s.stage}, {"seconds", s.seconds}});
  }
  json["linear_weights"] = report.linear_weights;
  json["linear_bits_per_weight"] = report.linear_bits_per_weight;
  json["kl"] = outcome.kl ? Json(*outcome.kl) : Json(nullptr);
  json["recovery"] = outcome.recovery ? RecoveryJson(*outcome.recovery) : Json(nullptr);
  json["shards"] = outcome.shards;
  json["tensors"] = Json::array();
  for (const PackedTensor& t : report.tensors) json["tensors"].push_back(TensorJson(t));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FormatNotes(const PackReport& report) {
  std::string text;
  for (const PackedTensor& t : report.tensors) {
    if (!t.note.empty()) text += "note: " + PlainName(t.name) + ": " + t.note + "\n";
  }
  return text;
}

std::string FormatSummary(const PackOutcome& outcome) {
  const PackReport& report = outcome.report;
  std::string text = outcome.file + ": " + std::to_string(report.tensors.size()) + " tensors, " +
                     FormatBytes(report.source_bytes) + " -> " + FormatBytes(report.file_bytes) +
                     " (" + PercentOf(report.source_bytes, report.file_bytes) + ")";
  if (report.linear_weights != 0) {
    text += FormatNumber(", %.3f bits a weight of linear tensors", report.linear_bits_per_weight);
  }
  if (outcome.kl) text += FormatNumber(", KL divergence %.4g nats a token", *outcome.kl);
  if (outcome.recovery) {
    const RecoveryFigures& r = *outcome.recovery;
    text +=
        FormatNumber(r.encoder ? ", recovery: 1 - cosine %.4g" : ", recovery: KL %.4g", r.before) +
        FormatNumber(r.encoder ? " -> %.4g" : " -> %.4g nats a token", r.after);
  }
  if (const size_t shards = outcome.shards.size(); shards != 0) {
    text += ", " + std::to_string(shards) + (shards == 1 ? " shard" : " shards");
  }
  text += ", " + FormatSeconds(outcome.seconds);
  if (outcome.seconds > 0) {
    const double speed = static_cast<double>(report.source_bytes) / outcome.seconds / 1e9;
    text += FormatNumber(speed < 0.01 ? ", %.4f GB/s" : ", %.2f GB/s", speed);
  }
  return text + "\n";
}

}  // namespace nwc
