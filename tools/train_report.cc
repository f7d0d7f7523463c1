#include "tools/train_report.h"

#include <nlohmann/json.hpp>

#include "tools/report_text.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

Json ReportJson(const std::vector<NeuralQualityReport>& report) {
  Json rows = Json::array();
  for (size_t q = 0; q < report.size(); ++q) {
    rows.push_back(
        {{"quality", q}, {"bits", report[q].bits}, {"mse", report[q].mse}, {"gap", report[q].gap}});
  }
  return rows;
}

}  // namespace

std::string FormatTableReport(const TrainingResult& result) {
  std::vector<Row> rows = {{"t", "bits", "gap", "escapes", "alphabet"}};
  for (const TableQuality& q : result.validation) {
    rows.push_back({std::to_string(q.t), FormatNumber("%.4f", q.bits), FormatNumber("%.4f", q.gap),
                    FormatNumber("%.2e", q.escape_rate),
                    std::to_string(result.tables.alphabet(q.t, 0)) + "/" +
                        std::to_string(result.tables.alphabet(q.t, 1))});
  }
  return "on columns that were not trained on; gap to the Gaussian bound in bits a weight\n" +
         AlignColumns(rows, "rrrrr");
}

std::string FormatNeuralReport(const NeuralTrainingResult& result) {
  std::vector<Row> rows = {{"quality", "bits", "mse", "gap"}};
  for (size_t q = 0; q < result.report.size(); ++q) {
    const NeuralQualityReport& r = result.report[q];
    rows.push_back({std::to_string(q), FormatNumber("%.4f", r.bits), FormatNumber("%.3e", r.mse),
                    FormatNumber("%.4f", r.gap)});
  }
  return "on chunks that were not trained on; gap to the Gaussian bound in bits a weight\n" +
         AlignColumns(rows, "rrrr");
}

std::string NeuralTrainingJson(const NeuralTrainingOptions& options,
                               const NeuralTrainingResult& result) {
  const auto& o = options;
  Json json = {{"chunk", o.chunk},
               {"latents", o.latents},
               {"width", o.width},
               {"blocks", o.blocks},
               {"lambda", o.lambda},
               {"rate_weights", o.rate_weights},
               {"seed", o.seed},
               {"steps", o.steps},
               {"batch", o.batch},
               {"learning_rate", o.learning_rate},
               {"warmup_steps", o.warmup_steps},
               {"pool_weights", o.pool_weights},
               {"training_chunks", result.training_chunks},
               {"validation_chunks", result.validation_chunks},
               {"report", ReportJson(result.report)}};
  json["validation"] = Json::array();
  for (const NeuralValidation& v : result.curve) {
    json["validation"].push_back({{"step", v.step}, {"loss", v.loss}});
  }
  return json.dump();
}

std::string LogLineJson(const NeuralLogLine& line) {
  const Json json = {
      {"step", line.step}, {"loss", line.loss}, {"mse", line.mse}, {"bits", line.bits}};
  return json.dump() + "\n";
}

std::string ValidationJson(const NeuralValidation& validation) {
  const Json json = {{"step", validation.step}, {"validation_loss", validation.loss}};
  return json.dump() + "\n";
}

std::string NeuralCodecName(const NeuralTrainingOptions& options) {
  return "nwc " + std::to_string(options.chunk) + "/" + std::to_string(options.width) + "x" +
         std::to_string(options.blocks) + "/" + std::to_string(options.latents) + " lambda " +
         FormatNumber("%g", options.lambda);
}

}  // namespace nwc
