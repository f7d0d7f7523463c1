#include "tools/fetch.h"

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/atomic_file.h"
#include "tools/display.h"
#include "tools/download.h"
#include "tools/open_container.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/tensor_export.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

struct Outcome {
  std::vector<size_t> numbers;
  uint64_t index_bytes = 0;    // superblocks and indexes
  uint64_t payload_bytes = 0;  // of the tensors
  ExportCounts counts;
  double seconds = 0;

  [[nodiscard]] uint64_t BytesRead() const { return index_bytes + counts.bytes_read; }
};

std::string FormatJson(const FetchArguments& arguments, const ModelLoader& model,
                       const Outcome& outcome) {
  Json json;
  json["file"] = PathForMessages(arguments.file);
  json["output"] = arguments.output;
  json["file_bytes"] = model.file_bytes();
  json["bytes_read"] = outcome.BytesRead();
  json["index_bytes"] = outcome.index_bytes;
  json["payload_bytes"] = outcome.payload_bytes;
  json["bytes_written"] = outcome.counts.bytes_written;
  json["reads"] = outcome.counts.reads;
  json["seconds"] = outcome.seconds;
  json["io"] = model.io_description();
  json["tensors"] = Json::array();
  for (const size_t i : outcome.numbers) json["tensors"].push_back(model.tensor(i).name);
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FormatText(const FetchArguments& arguments, const ModelLoader& model,
                       const Outcome& outcome) {
  const uint64_t file_bytes = model.file_bytes();
  const double share = static_cast<double>(outcome.BytesRead()) / static_cast<double>(file_bytes);
  return arguments.output + ": " + std::to_string(outcome.numbers.size()) + " tensors, " +
         FormatBytes(outcome.counts.bytes_written) + "; read " +
         std::to_string(outcome.BytesRead()) + " of " + std::to_string(file_bytes) + " bytes" +
         FormatNumber(" (%.2f %%", 100 * share) + "; index " + std::to_string(outcome.index_bytes) +
         ", tensors " + std::to_string(outcome.counts.bytes_read) + ") in " +
         FormatSeconds(outcome.seconds) + "\n";
}

Status CheckOutput(const FetchArguments& arguments, const ModelLoader& model) {
  std::error_code error;
  for (size_t i = 0; i < model.shard_count(); ++i) {
    if (!std::filesystem::equivalent(model.shard(i).path(), arguments.output, error)) continue;
    return Status(ErrorCode::kUsage, arguments.output +
                                         ": is the container itself, expected another path; "
                                         "choose another -o");
  }
  return CheckOutputPath(arguments.output, arguments.force);
}

}  // namespace

Status Fetch(const FetchArguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  if (arguments.selection.regexes.empty() && arguments.selection.layers.empty()) {
    return Download(arguments);
  }
  NWC_RETURN_IF_ERROR(CheckSelection(arguments.selection));
  if (arguments.output.ends_with(kContainerEnding)) {
    return Status(ErrorCode::kUsage, arguments.output +
                                         ": selected tensors are written as .safetensors, expected "
                                         "another name; to copy the whole container leave out "
                                         "--tensor and --layers");
  }
  NWC_ASSIGN_OR_RETURN(const auto model, OpenModel(arguments.file, arguments.load));
  NWC_RETURN_IF_ERROR(CheckOutput(arguments, *model));
  Outcome outcome;
  NWC_ASSIGN_OR_RETURN(outcome.numbers, SelectTensors(*model, arguments.selection));
  outcome.index_bytes = model->index_bytes();
  uint64_t total = 0, done = 0;
  for (const size_t i : outcome.numbers) {
    outcome.payload_bytes += model->tensor(i).payload_bytes();
    total += model->tensor(i).decoded_bytes();
  }
  Progress progress(arguments.quiet);
  TensorExport job;
  job.model = model.get();
  job.numbers = outcome.numbers;
  job.metadata = model->sources()[model->tensor(outcome.numbers[0]).shard].metadata;
  job.path = arguments.output;
  job.overwrite = arguments.force;
  job.progress = [&](const Tensor& tensor) {
    done += tensor.bytes.size();
    progress.Update("fetching", tensor.info.name, done, total);
  };
  NWC_RETURN_IF_ERROR(ExportTensors(job, &outcome.counts));
  progress.EndLine();
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (arguments.json) return PrintOut(FormatJson(arguments, *model, outcome));
  if (arguments.quiet) return {};
  return PrintOut(FormatText(arguments, *model, outcome));
}

}  // namespace nwc
