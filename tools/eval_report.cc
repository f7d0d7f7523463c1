#include "tools/eval_report.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "tools/display.h"
#include "tools/report_text.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

template <typename Value>
Json If(bool applies, Value value) {
  return applies ? Json(value) : Json(nullptr);
}

Json OrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

void AddBits(const ContainerBits& bits, std::vector<Row>* rows) {
  if (const auto linear = bits.LinearBitsPerWeight()) {
    rows->push_back({"bits a linear weight", FormatNumber("%.4f", *linear)});
  }
  if (const auto all = bits.BitsPerWeight()) {
    rows->push_back({"bits a weight, whole file", FormatNumber("%.4f", *all)});
  }
}

void AddLanguage(const Evaluation& e, bool compared, std::vector<Row>* rows) {
  if (compared) rows->push_back({"perplexity", FormatNumber("%.4f", e.perplexity)});
  rows->push_back({"perplexity of the original", FormatNumber("%.4f", e.reference_perplexity)});
  if (compared) {
    rows->push_back({"KL, nats a token", FormatNumber("%.6f", e.kl)});
    rows->push_back({"same first token", FormatNumber("%.2f %%", 100 * e.top1_agreement)});
  }
  rows->push_back({"tokens", std::to_string(e.tokens)});
}

void AddEncoder(const Evaluation& e, bool compared, std::vector<Row>* rows) {
  if (compared) {
    rows->push_back({"cosine, mean", FormatNumber("%.6f", e.mean_cosine)});
    rows->push_back({"cosine, worst", FormatNumber("%.6f", e.worst_cosine)});
  }
  rows->push_back({"sentences", std::to_string(e.sentences)});
}

Json OutcomeJson(const EvalOutcome& outcome) {
  const Evaluation& e = outcome.evaluation;
  const bool compared = !outcome.packed.empty();
  const bool language = !e.encoder;
  Json json;
  json["model"] = outcome.model;
  json["packed"] = If(compared, outcome.packed);
  json["perplexity"] = If(language, e.perplexity);
  json["reference_perplexity"] = If(language, e.reference_perplexity);
  json["kl"] = If(language && compared, e.kl);
  json["top1_agreement"] = If(language && compared, e.top1_agreement);
  json["tokens"] = If(language, e.tokens);
  json["mean_cosine"] = If(e.encoder && compared, e.mean_cosine);
  json["worst_cosine"] = If(e.encoder && compared, e.worst_cosine);
  json["sentences"] = If(e.encoder, e.sentences);
  json["linear_bits_per_weight"] =
      outcome.bits ? OrNull(outcome.bits->LinearBitsPerWeight()) : Json(nullptr);
  json["bits_per_weight"] = outcome.bits ? OrNull(outcome.bits->BitsPerWeight()) : Json(nullptr);
  json["seconds"] = outcome.seconds;
  return json;
}

}  // namespace

std::string FormatEvalJson(const std::vector<EvalOutcome>& outcomes) {
  Json json = Json::array();
  for (const EvalOutcome& outcome : outcomes) json.push_back(OutcomeJson(outcome));
  if (outcomes.size() == 1) json = json[0];
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FormatEvalTable(const EvalOutcome& outcome) {
  std::vector<Row> rows = {{"model", PlainName(outcome.model)}};
  const bool compared = !outcome.packed.empty();
  if (compared) rows.push_back({"packed", PlainName(outcome.packed)});
  if (outcome.bits) AddBits(*outcome.bits, &rows);
  if (outcome.evaluation.encoder) {
    AddEncoder(outcome.evaluation, compared, &rows);
  } else {
    AddLanguage(outcome.evaluation, compared, &rows);
  }
  rows.push_back({"time", FormatSeconds(outcome.seconds)});
  return AlignColumns(rows, "");
}

}  // namespace nwc
