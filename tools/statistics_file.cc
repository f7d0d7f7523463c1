#include "tools/statistics_file.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "format/checksum.h"
#include "tools/display.h"

namespace nwc {
namespace {

constexpr std::string_view kInputEnding = ".input_moment";
constexpr std::string_view kWeightedEnding = ".weighted_moment";
constexpr std::string_view kOutputEnding = ".output_moment";
constexpr std::string_view kSharedPrefix = "input_of.";
constexpr const char* kFormat = "nwc-statistics-1";

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

uint64_t ElementCount(const SourceTensor& tensor) {
  uint64_t n = 1;
  for (const uint64_t d : tensor.shape) n *= d;
  return n;
}

}  // namespace

Result<std::unique_ptr<StatisticsFile>> StatisticsFile::Open(const std::string& path) {
  std::unique_ptr<StatisticsFile> statistics(new StatisticsFile);
  NWC_ASSIGN_OR_RETURN(statistics->file_, Checkpoint::Open(path));
  const auto metadata = nlohmann::json::parse(statistics->file_->shards()[0].metadata, nullptr,
                                              /*allow_exceptions=*/false);
  if (!metadata.is_object() || metadata.value("format", "") != kFormat) {
    return Usage(path + ": no statistics, expected safetensors with the metadata format = " +
                 kFormat + "; --stats-out writes such a file");
  }
  statistics->fingerprint_ = metadata.value("model", "");
  auto& moments = statistics->moments_;
  const auto& tensors = statistics->file_->tensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string_view name = tensors[i].name;
    const auto of = [&](std::string_view ending) -> Moments& {
      return moments[std::string(name.substr(0, name.size() - ending.size()))];
    };
    if (name.ends_with(kInputEnding)) of(kInputEnding).input = i;
    if (name.ends_with(kWeightedEnding)) of(kWeightedEnding).weighted = i;
    if (name.ends_with(kOutputEnding)) of(kOutputEnding).output = i;
  }
  for (const auto& [key, value] : metadata.items()) {
    if (!key.starts_with(kSharedPrefix) || !value.is_string()) continue;
    const auto owner = moments.find(value.get<std::string>());
    if (owner == moments.end() || !owner->second.input) {
      return Usage(path + ": metadata " + key + " names " + value.get<std::string>() +
                   ", which has no input_moment");
    }
    moments[key.substr(kSharedPrefix.size())].input = owner->second.input;
  }
  for (const auto& [name, m] : moments) {
    if (!m.input) return Usage(path + ": '" + name + "' has no input_moment");
  }
  if (moments.empty()) return Usage(path + ": holds no input_moment");
  return statistics;
}

bool StatisticsFile::Has(const std::string& weight) const { return moments_.contains(weight); }

Result<std::vector<float>> StatisticsFile::ReadTensor(size_t tensor,
                                                      const std::vector<uint64_t>& shape,
                                                      const char* what) const {
  const SourceTensor& t = file_->tensors()[tensor];
  if (t.dtype != DType::kF32 || t.shape != shape) {
    return Usage("statistics tensor '" + t.name + "' is " + DTypeName(t.dtype) + " " +
                 FormatShape(t.shape) + ", expected F32 " + FormatShape(shape) + " (" + what +
                 "): they are of another model");
  }
  std::vector<float> read(ElementCount(t));
  NWC_RETURN_IF_ERROR(
      file_->Read(tensor, {reinterpret_cast<uint8_t*>(read.data()), read.size() * sizeof(float)}));
  for (const float v : read) {
    if (!std::isfinite(v)) {
      return Usage("statistics tensor '" + t.name +
                   "' holds NaN or infinite values; calibrate again");
    }
  }
  return read;
}

Result<LayerStatistics> StatisticsFile::Read(const std::string& weight, uint64_t rows,
                                             uint64_t columns, InputMoment moment) const {
  const Moments& m = moments_.at(weight);
  LayerStatistics statistics;
  const size_t input = moment == InputMoment::kWeighted ? m.weighted.value_or(*m.input) : *m.input;
  NWC_ASSIGN_OR_RETURN(statistics.input_moment,
                       ReadTensor(input, {columns, columns}, "inputs, inputs"));
  if (m.output) {
    const bool diagonal = file_->tensors()[*m.output].shape.size() == 1;
    const std::vector<uint64_t> shape = diagonal ? std::vector{rows} : std::vector{rows, rows};
    NWC_ASSIGN_OR_RETURN(statistics.output_moment,
                         ReadTensor(*m.output, shape, diagonal ? "outputs" : "outputs, outputs"));
  }
  return statistics;
}

Status StatisticsFile::CheckModel(const TensorSource& model) const {
  bool any = false;
  for (const SourceTensor& t : model.tensors()) any = any || Has(t.name);
  if (!any) {
    return Usage("the statistics name none of the model's tensors (their first is '" +
                 moments_.begin()->first + "'): they are of another model");
  }
  if (fingerprint_.empty()) return {};
  NWC_ASSIGN_OR_RETURN(const std::string actual, ModelFingerprint(model));
  if (actual == fingerprint_) return {};
  return Usage("the statistics are of another model (fingerprint " + fingerprint_ +
               ", this one has " + actual + "); calibrate again");
}

Result<std::string> ModelFingerprint(const TensorSource& model) {
  std::string text;
  for (size_t i = 0; i < model.tensors().size(); ++i) {
    const SourceTensor& t = model.tensors()[i];
    text += t.name + FormatShape(t.shape);
    if (t.shape.size() != 1) continue;
    std::vector<uint8_t> bytes(ElementCount(t) * DTypeSize(t.dtype));
    NWC_RETURN_IF_ERROR(model.Read(i, bytes));
    text.append(bytes.begin(), bytes.end());
  }
  return ToHex(Hash128Of({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
}

}  // namespace nwc
