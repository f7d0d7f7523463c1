#include "tools/diff.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "tools/display.h"
#include "tools/model_file.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"
#include "tools/tensor_difference.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMinLinearSide = 64;

// A tensor of both sides.
struct Pair {
  size_t a, b;  // positions in the models
  bool linear = false;
  bool shapes_match = true, dtypes_match = true;
  TensorDifference difference;
};

struct Comparison {
  std::vector<Pair> pairs;  // in the order of a
  std::vector<std::string> only_in_a, only_in_b;
};

bool IsEmbeddingOrHead(std::string_view name) {
  constexpr std::array<std::string_view, 5> kParts = {"embed", "embd", "lm_head", "position",
                                                      "predictions.decoder"};
  constexpr std::array<std::string_view, 2> kWords = {".wte.", ".wpe."};
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string words = "." + lower + ".";
  std::replace(words.begin(), words.end(), '_', '.');
  const auto in = [](const std::string& text) {
    return [&text](std::string_view part) { return text.find(part) != std::string::npos; };
  };
  return std::any_of(kParts.begin(), kParts.end(), in(lower)) ||
         std::any_of(kWords.begin(), kWords.end(), in(words)) || lower == "output.weight" ||
         lower == "head.weight" || lower.ends_with(".head.weight");
}

// The packer's default rule, for models that do not say which of their tensors are linear.
bool LooksLinear(const ModelTensor& t) {
  if (t.shape.size() < 2 || !IsCodedFloat(t.dtype) || t.weights() == 0) return false;
  return t.shape[0] >= kMinLinearSide && t.weights() / t.shape[0] >= kMinLinearSide &&
         !IsEmbeddingOrHead(t.name);
}

Comparison Match(const ModelFile& a, const ModelFile& b) {
  std::unordered_map<std::string_view, size_t> in_b;
  for (size_t i = 0; i < b.tensors().size(); ++i) in_b.emplace(b.tensors()[i].name, i);
  Comparison comparison;
  for (size_t i = 0; i < a.tensors().size(); ++i) {
    const ModelTensor& t = a.tensors()[i];
    const auto found = in_b.find(t.name);
    if (found == in_b.end()) {
      comparison.only_in_a.push_back(t.name);
      continue;
    }
    const ModelTensor& u = b.tensors()[found->second];
    Pair pair{i, found->second, false, t.shape == u.shape, t.dtype == u.dtype, {}};
    pair.linear = t.linear.value_or(u.linear.value_or(LooksLinear(t)));
    comparison.pairs.push_back(pair);
    in_b.erase(found);
  }
  for (const ModelTensor& u : b.tensors()) {
    if (in_b.contains(u.name)) comparison.only_in_b.push_back(u.name);
  }
  return comparison;
}

Status Measure(const ModelFile& a, const ModelFile& b, Progress* progress, Comparison* comparison) {
  uint64_t total = 0, done = 0;
  for (const Pair& pair : comparison->pairs) total += a.tensors()[pair.a].bytes();
  for (Pair& pair : comparison->pairs) {
    const ModelTensor& t = a.tensors()[pair.a];
    if (StopRequested()) return Status(ErrorCode::kCancelled, a.path() + ": stopped");
    if (pair.shapes_match) {
      NWC_ASSIGN_OR_RETURN(const AlignedBuffer of_a, a.Read(pair.a));
      NWC_ASSIGN_OR_RETURN(const AlignedBuffer of_b, b.Read(pair.b));
      const bool rows = pair.linear && !t.shape.empty() && t.shape[0] != 0;
      pair.difference = Compare({t.dtype, of_a.span()}, {b.tensors()[pair.b].dtype, of_b.span()},
                                rows ? t.weights() / t.shape[0] : 0);
    }
    done += t.bytes();
    progress->Update("comparing", t.name, done, total);
  }
  return {};
}

struct Summary {
  uint64_t identical = 0, differing = 0, shape_mismatches = 0, dtype_mismatches = 0;
  uint64_t rows = 0;
  double row_error_sum = 0, signal = 0, error = 0, max_abs = 0;

  [[nodiscard]] double RowNormalizedMse() const {
    return rows == 0 ? 0 : row_error_sum / static_cast<double>(rows);
  }
};

Summary Sum(const Comparison& comparison) {
  Summary sum;
  for (const Pair& pair : comparison.pairs) {
    if (!pair.dtypes_match) ++sum.dtype_mismatches;
    if (!pair.shapes_match) {
      ++sum.shape_mismatches;
      continue;
    }
    const TensorDifference& d = pair.difference;
    ++(d.identical ? sum.identical : sum.differing);
    sum.rows += d.rows;
    sum.row_error_sum += d.row_error_sum;
    sum.signal += d.signal;
    sum.error += d.error;
    sum.max_abs = std::max(sum.max_abs, d.max_abs);
  }
  return sum;
}

Json OrNull(std::optional<double> value) { return value ? Json(*value) : Json(nullptr); }

Json PairJson(const Pair& pair, const ModelTensor& t, const ModelTensor& u) {
  const TensorDifference& d = pair.difference;
  const bool measured = pair.shapes_match;
  Json json;
  json["name"] = t.name;
  json["dtype_a"] = DTypeName(t.dtype);
  json["dtype_b"] = DTypeName(u.dtype);
  json["shape_a"] = t.shape;
  json["shape_b"] = u.shape;
  json["linear"] = pair.linear;
  json["identical"] = measured && d.identical;  // of different dtypes: the same values
  json["snr_db"] = measured ? OrNull(d.snr_db()) : Json(nullptr);
  json["rel_mse"] = measured ? OrNull(d.relative_mse()) : Json(nullptr);
  json["max_abs"] = measured ? Json(d.max_abs) : Json(nullptr);
  json["differing"] = d.differing;
  json["nonfinite_mismatches"] = d.nonfinite_mismatches;
  json["row_normalized_mse"] =
      d.rows == 0 ? Json(nullptr) : Json(d.row_error_sum / static_cast<double>(d.rows));
  return json;
}

std::string FormatJson(const ModelFile& a, const ModelFile& b, const Comparison& comparison) {
  const Summary sum = Sum(comparison);
  Json json;
  json["a"] = a.path();
  json["b"] = b.path();
  json["identical"] = sum.differing + sum.shape_mismatches + sum.dtype_mismatches == 0 &&
                      comparison.only_in_a.empty() && comparison.only_in_b.empty();
  json["row_normalized_mse"] = sum.rows == 0 ? Json(nullptr) : Json(sum.RowNormalizedMse());
  json["rows"] = sum.rows;
  json["max_abs"] = sum.max_abs;
  json["only_in_a"] = comparison.only_in_a;
  json["only_in_b"] = comparison.only_in_b;
  json["shape_mismatches"] = sum.shape_mismatches;
  json["dtype_mismatches"] = sum.dtype_mismatches;
  json["tensors"] = Json::array();
  for (const Pair& pair : comparison.pairs) {
    json["tensors"].push_back(PairJson(pair, a.tensors()[pair.a], b.tensors()[pair.b]));
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Row PairRow(const Pair& pair, const ModelTensor& t, const ModelTensor& u) {
  const TensorDifference& d = pair.difference;
  if (!pair.shapes_match) {
    return {PlainName(t.name), "-", "-", "-",
            FormatShape(t.shape) + " and " + FormatShape(u.shape)};
  }
  std::string note = d.identical ? "identical" : "";
  if (!pair.dtypes_match) {
    note += std::string(note.empty() ? "" : " values, ") + DTypeName(t.dtype) + " and " +
            DTypeName(u.dtype);
  }
  if (d.nonfinite_mismatches != 0) {
    note += (note.empty() ? "" : ", ") + std::to_string(d.nonfinite_mismatches) +
            " NaN or infinite values differ";
  }
  const auto snr = d.snr_db();
  const auto relative = d.relative_mse();
  return {PlainName(t.name), snr ? FormatNumber("%.2f", *snr) : "-",
          relative ? FormatNumber("%.3e", *relative) : "-", FormatNumber("%.3e", d.max_abs), note};
}

std::string FormatText(const ModelFile& a, const ModelFile& b, const Comparison& comparison) {
  std::vector<Row> rows = {{"tensor", "SNR dB", "relative MSE", "max error", ""}};
  for (const Pair& pair : comparison.pairs) {
    rows.push_back(PairRow(pair, a.tensors()[pair.a], b.tensors()[pair.b]));
  }
  std::string text = AlignColumns(rows, "lrrrl");
  for (const auto& name : comparison.only_in_a) {
    text += "only in " + a.path() + ": " + PlainName(name) + "\n";
  }
  for (const auto& name : comparison.only_in_b) {
    text += "only in " + b.path() + ": " + PlainName(name) + "\n";
  }
  const Summary sum = Sum(comparison);
  text += "\n" + std::to_string(comparison.pairs.size()) + " tensors in both, " +
          std::to_string(sum.identical) + " identical, " + std::to_string(sum.differing) +
          " with other values; largest error" + FormatNumber(" %.3e", sum.max_abs);
  if (sum.rows != 0) {
    text += FormatNumber("; mean over the rows of linear tensors of MSE / variance: %.4e",
                         sum.RowNormalizedMse());
  }
  return text + "\n";
}

Status Verdict(const ModelFile& a, const ModelFile& b, const Comparison& comparison) {
  const Summary sum = Sum(comparison);
  const auto count = [](uint64_t n, const char* what) {
    return n == 0 ? "" : ", " + std::to_string(n) + what;
  };
  const std::string what = count(comparison.only_in_a.size(), " tensors only in the first") +
                           count(comparison.only_in_b.size(), " tensors only in the second") +
                           count(sum.shape_mismatches, " of other shape") +
                           count(sum.dtype_mismatches, " of other dtype");
  if (what.empty()) return {};
  return Status(ErrorCode::kCorrupt, a.path() + " and " + b.path() +
                                         ": not the same tensors: " + what.substr(2) +
                                         ", expected the same names, shapes and dtypes; compare "
                                         "versions of one model");
}

}  // namespace

Status Diff(const DiffArguments& arguments) {
  NWC_ASSIGN_OR_RETURN(const auto a, ModelFile::Open(arguments.a, arguments.load));
  NWC_ASSIGN_OR_RETURN(const auto b, ModelFile::Open(arguments.b, arguments.load));
  Comparison comparison = Match(*a, *b);
  Progress progress(arguments.quiet);
  NWC_RETURN_IF_ERROR(Measure(*a, *b, &progress, &comparison));
  progress.EndLine();
  NWC_RETURN_IF_ERROR(
      PrintOut(arguments.json ? FormatJson(*a, *b, comparison) : FormatText(*a, *b, comparison)));
  return Verdict(*a, *b, comparison);
}

}  // namespace nwc
