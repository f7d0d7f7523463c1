#include "tools/tensor_export.h"

#include <utility>

#include "tools/atomic_file.h"
#include "tools/safetensors.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

Result<std::vector<uint8_t>> MakeHeader(const TensorExport& job) {
  std::vector<SafetensorsEntry> entries;
  for (const size_t number : job.numbers) {
    const TensorInfo& t = job.model->tensor(number);
    entries.push_back({t.name, t.dtype, t.shape, 0, 0});
  }
  std::vector<uint8_t> header = SerializeSafetensorsHeader(&entries, job.metadata);
  if (header.size() > kMaxSafetensorsHeader) {
    return Status(ErrorCode::kUnsupported,
                  job.path + ": the header would have " + std::to_string(header.size()) +
                      " bytes, safetensors allows " + std::to_string(kMaxSafetensorsHeader) +
                      "; fetch fewer tensors at a time");
  }
  return header;
}

}  // namespace

Status ExportTensors(const TensorExport& job, ExportCounts* counts) {
  NWC_ASSIGN_OR_RETURN(const std::vector<uint8_t> header, MakeHeader(job));
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(job.path, job.overwrite));
  NWC_RETURN_IF_ERROR(file->Append(header));
  uint64_t written = header.size();
  const auto append = [&](const Tensor& tensor) -> Status {
    NWC_RETURN_IF_ERROR(file->Append(tensor.bytes.span()));
    written += tensor.bytes.size();
    if (job.progress) job.progress(tensor);
    return {};
  };
  LoadStatistics statistics;
  NWC_RETURN_IF_ERROR(job.model->Stream(job.numbers, append, &statistics, &StopRequested()));
  NWC_RETURN_IF_ERROR(file->Commit({}));
  counts->bytes_written += written;
  counts->bytes_read += statistics.bytes_read;
  counts->reads += statistics.reads;
  return {};
}

}  // namespace nwc
