#include "tools/gguf_export.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "format/layout.h"
#include "tools/atomic_file.h"
#include "tools/display.h"
#include "tools/gguf.h"
#include "tools/parse_json.h"
#include "tools/shard_index.h"
#include "tools/stop_signals.h"
#include "tools/weights_file.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

// A file to write: the bytes of `rest`, with the tensors between them where `header` says.
struct GgufPlan {
  std::string name;
  GgufHeader header;
  std::vector<uint8_t> rest;
  std::vector<size_t> numbers;  // of the header's tensors, in the model
};

std::optional<size_t> FindFile(const ModelLoader& model, const std::string& name) {
  for (size_t i = 0; i < model.file_count(); ++i) {
    if (model.file(i).name == name) return i;
  }
  return std::nullopt;
}

Status NotTheSame(const std::string& tensor, const std::string& what) {
  return Status(ErrorCode::kUsage, "tensor " + Quote(tensor) + " " + what +
                                       ", expected all tensors as in the GGUF file that was "
                                       "packed; unpack with --format safetensors");
}

Status FindTensors(const ModelLoader& model, size_t shard, GgufPlan* plan) {
  for (const StoredTensor& t : plan->header.tensors) {
    const auto number = model.Find(t.name);
    if (!number.ok()) return NotTheSame(t.name, "was not packed");
    const TensorInfo& info = model.tensor(*number);
    if (info.shard != shard || info.dtype != t.dtype || info.shape != t.shape) {
      return NotTheSame(t.name, "has another file, dtype or shape");
    }
    plan->numbers.push_back(*number);
  }
  size_t packed = 0;
  for (size_t i = 0; i < model.tensor_count(); ++i) packed += model.tensor(i).shard == shard;
  if (packed == plan->numbers.size()) return {};
  return Status(ErrorCode::kCorrupt,
                plan->name + ": its header names " + std::to_string(plan->numbers.size()) +
                    " tensors, expected the " + std::to_string(packed) + " that were packed");
}

// From the header that was kept in `file` of the model.
Result<GgufPlan> PlanOriginal(const ModelLoader& model, size_t shard, size_t file) {
  const std::string& kept = model.file(file).name;
  NWC_ASSIGN_OR_RETURN(std::vector<uint8_t> rest, model.LoadFile(file, &StopRequested()));
  auto header = ParseGgufHeader(rest);
  if (!header.ok()) return header.status().WithContext(kept);
  uint64_t needed = 0, end = 0;
  if (*header) {
    for (const StoredTensor& t : (*header)->tensors) {
      needed += t.begin - std::exchange(end, t.end);
    }
  }
  if (!*header || needed > rest.size()) {
    return Status(ErrorCode::kCorrupt, kept + ": the header of the GGUF file is cut short");
  }
  GgufPlan plan{
      ShardStem(model.sources()[shard].name) + ".gguf", std::move(**header), std::move(rest), {}};
  NWC_RETURN_IF_ERROR(FindTensors(model, shard, &plan));
  return plan;
}

// What config.json calls the architecture, or nothing.
Result<std::string> ModelType(const ModelLoader& model) {
  const auto file = FindFile(model, "config.json");
  if (!file) return std::string();
  NWC_ASSIGN_OR_RETURN(const auto content, model.LoadFile(*file, &StopRequested()));
  const auto json =
      ParseJson<nlohmann::json>({reinterpret_cast<const char*>(content.data()), content.size()});
  const auto type = json.is_object() ? json.find("model_type") : json.end();
  return json.is_object() && type != json.end() && type->is_string() ? type->get<std::string>()
                                                                     : std::string();
}

Result<GgufPlan> PlanNew(const ModelLoader& model) {
  GgufPlan plan;
  const std::string stem =
      model.sources().size() == 1 ? ShardStem(model.sources()[0].name) : "model";
  plan.name = stem + ".gguf";
  plan.numbers = model.All();
  for (const size_t number : plan.numbers) {
    const TensorInfo& t = model.tensor(number);
    plan.header.tensors.push_back({t.name, t.dtype, t.shape, 0, 0, {}, {}});
  }
  std::vector<std::pair<std::string, std::string>> metadata;
  NWC_ASSIGN_OR_RETURN(const std::string type, ModelType(model));
  if (!type.empty()) metadata.emplace_back("general.architecture", type);
  metadata.emplace_back("general.name", fs::path(model.path()).stem().string());
  NWC_ASSIGN_OR_RETURN(plan.rest, SerializeGgufHeader(metadata, &plan.header.tensors));
  uint64_t padding = 0;
  for (const StoredTensor& t : plan.header.tensors) {
    padding += AlignUp(t.end, kGgufAlignment) - t.end;
  }
  plan.rest.resize(plan.rest.size() + padding, 0);
  return plan;
}

Result<std::vector<GgufPlan>> PlanFiles(const ModelLoader& model) {
  std::vector<GgufPlan> plans;
  for (size_t s = 0; s < model.sources().size(); ++s) {
    const auto file = FindFile(model, ShardStem(model.sources()[s].name) + kGgufHeaderEnding);
    if (!file) {
      plans.clear();
      break;
    }
    NWC_ASSIGN_OR_RETURN(GgufPlan plan, PlanOriginal(model, s, *file));
    plans.push_back(std::move(plan));
  }
  if (!plans.empty()) return plans;
  NWC_ASSIGN_OR_RETURN(GgufPlan plan, PlanNew(model));
  plans.push_back(std::move(plan));
  return plans;
}

Status WriteFile(const GgufExport& job, const GgufPlan& plan, ExportCounts* counts) {
  NWC_ASSIGN_OR_RETURN(const auto file,
                       AtomicFile::Create((fs::path(job.folder) / plan.name).string(), false));
  ByteSpan rest = plan.rest;
  uint64_t at = 0;  // bytes of the file
  size_t next = 0;
  const auto append = [&](const Tensor& tensor) -> Status {
    const StoredTensor& place = plan.header.tensors[next++];
    NWC_RETURN_IF_ERROR(file->Append(rest.first(place.begin - at)));
    rest = rest.subspan(place.begin - at);
    NWC_RETURN_IF_ERROR(file->Append(tensor.bytes.span()));
    at = place.end;
    if (job.progress) job.progress(tensor);
    return {};
  };
  LoadStatistics statistics;
  NWC_RETURN_IF_ERROR(job.model->Stream(plan.numbers, append, &statistics, &StopRequested()));
  NWC_RETURN_IF_ERROR(file->Append(rest));
  NWC_RETURN_IF_ERROR(file->Commit({}));
  counts->bytes_written += at + rest.size();
  counts->bytes_read += statistics.bytes_read;
  counts->reads += statistics.reads;
  return {};
}

}  // namespace

Result<size_t> ExportGguf(const GgufExport& job, ExportCounts* counts) {
  auto plans = PlanFiles(*job.model);
  if (!plans.ok()) return plans.status().WithContext(job.model->path());
  for (const GgufPlan& plan : *plans) NWC_RETURN_IF_ERROR(WriteFile(job, plan, counts));
  return plans->size();
}

bool IsReplacedByGguf(const std::string& file_name) {
  return file_name.ends_with(kGgufHeaderEnding) || file_name == kShardIndexName;
}

}  // namespace nwc
