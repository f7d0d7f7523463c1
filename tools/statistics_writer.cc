#include "tools/statistics_writer.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace nwc {
namespace {

constexpr size_t kEntryBytes = 160;  // of a tensor in the header beside its name
constexpr size_t kMetadataBytes = 4096;

}  // namespace

Result<std::unique_ptr<StatisticsWriter>> StatisticsWriter::Create(const std::string& path,
                                                                   bool overwrite, size_t linears,
                                                                   size_t name_bytes) {
  std::unique_ptr<StatisticsWriter> writer(new StatisticsWriter);
  NWC_ASSIGN_OR_RETURN(writer->file_, AtomicFile::Create(path, overwrite));
  // Each linear has three tensors, and its name at most twice more in the metadata.
  writer->header_bytes_ =
      AlignUp(kMetadataBytes + 4 * linears * kEntryBytes + 5 * name_bytes, kMetadataBytes);
  NWC_RETURN_IF_ERROR(writer->file_->Append(std::vector<uint8_t>(writer->header_bytes_)));
  return writer;
}

Status StatisticsWriter::AddTensor(const std::string& name, std::vector<uint64_t> shape,
                                   std::span<const float> values) {
  entries_.push_back({name, DType::kF32, std::move(shape), 0, 0});
  return file_->Append(
      {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
}

Status StatisticsWriter::Add(const CalibratedLinear& linear) {
  if (linear.input_of.empty()) {
    NWC_RETURN_IF_ERROR(AddTensor(linear.weight + ".input_moment", {linear.inputs, linear.inputs},
                                  linear.input_moment));
  } else {
    shared_["input_of." + linear.weight] = linear.input_of;
  }
  if (!linear.weighted_moment.empty()) {
    NWC_RETURN_IF_ERROR(AddTensor(linear.weight + ".weighted_moment",
                                  {linear.inputs, linear.inputs}, linear.weighted_moment));
  }
  return AddTensor(linear.weight + ".output_moment", {linear.outputs, linear.outputs},
                   linear.output_moment);
}

Status StatisticsWriter::Finish(std::map<std::string, std::string> metadata) {
  metadata["format"] = "nwc-statistics-1";
  metadata.insert(shared_.begin(), shared_.end());
  std::vector<uint8_t> header =
      SerializeSafetensorsHeader(&entries_, nlohmann::json(metadata).dump());
  if (header.size() > header_bytes_) {
    return Status(ErrorCode::kInternal, "the header of the statistics outgrew its room");
  }
  // Spaces may follow the JSON; its length comes first.
  header.resize(header_bytes_, ' ');
  const uint64_t json_bytes = header_bytes_ - sizeof(uint64_t);
  std::memcpy(header.data(), &json_bytes, sizeof(json_bytes));
  return file_->Commit(header);
}

}  // namespace nwc
