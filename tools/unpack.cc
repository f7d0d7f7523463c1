#include "tools/unpack.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "tools/atomic_file.h"
#include "tools/display.h"
#include "tools/gguf_export.h"
#include "tools/open_container.h"
#include "tools/output_folder.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/shard_index.h"
#include "tools/stop_signals.h"
#include "tools/tensor_export.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

// Replacing the folder would remove what is being read.
Status CheckInputIsElsewhere(const UnpackArguments& arguments, const ModelLoader& model) {
  std::error_code error;
  for (size_t i = 0; i < model.shard_count(); ++i) {
    const std::string& file = model.shard(i).path();
    for (const fs::path& path : {fs::absolute(file, error), fs::canonical(file, error)}) {
      if (!fs::equivalent(path.parent_path(), arguments.output, error)) continue;
      return Status(ErrorCode::kUsage, arguments.output + ": holds " + file +
                                           ", expected another folder; choose another -o");
    }
  }
  return {};
}

// Counts what it writes.
struct Written {
  size_t files = 0, shards = 0;
  ExportCounts counts;
};

Status WriteFiles(const ModelLoader& model, const std::string& folder, bool gguf,
                  Written* written) {
  for (size_t i = 0; i < model.file_count(); ++i) {
    if (gguf && IsReplacedByGguf(model.file(i).name)) continue;
    NWC_ASSIGN_OR_RETURN(const std::vector<uint8_t> content, model.LoadFile(i, &StopRequested()));
    NWC_ASSIGN_OR_RETURN(
        const auto file,
        AtomicFile::Create((fs::path(folder) / model.file(i).name).string(), false));
    NWC_RETURN_IF_ERROR(file->Append(content));
    NWC_RETURN_IF_ERROR(file->Commit({}));
    written->counts.bytes_read += content.size();
    written->counts.bytes_written += content.size();
    ++written->files;
  }
  return {};
}

// Shard by shard, so that one file is open at a time however the container orders its tensors.
Status WriteShards(const ModelLoader& model, const std::string& folder,
                   const std::function<void(const Tensor&)>& progress, Written* written) {
  std::vector<TensorExport> jobs(model.sources().size());
  for (size_t i = 0; i < model.tensor_count(); ++i) {
    jobs[model.tensor(i).shard].numbers.push_back(i);
  }
  for (size_t s = 0; s < jobs.size(); ++s) {
    jobs[s].model = &model;
    jobs[s].metadata = model.sources()[s].metadata;
    jobs[s].path = (fs::path(folder) / model.sources()[s].name).string();
    jobs[s].progress = progress;
    NWC_RETURN_IF_ERROR(ExportTensors(jobs[s], &written->counts));
  }
  written->shards = jobs.size();
  return {};
}

Status WriteWeights(const ModelLoader& model, const std::string& folder, bool gguf,
                    Progress* progress, Written* written) {
  uint64_t total = 0, done = 0;
  for (size_t i = 0; i < model.tensor_count(); ++i) total += model.tensor(i).decoded_bytes();
  const auto show = [&](const Tensor& tensor) {
    done += tensor.bytes.size();
    progress->Update("unpacking", tensor.info.name, done, total);
  };
  if (!gguf) return WriteShards(model, folder, show, written);
  NWC_ASSIGN_OR_RETURN(written->shards, ExportGguf({&model, folder, show}, &written->counts));
  return {};
}

// A checkpoint of which only some tensors were packed keeps the index of all of them.
std::string NoteOnShardIndex(const ModelLoader& model) {
  for (size_t i = 0; i < model.file_count(); ++i) {
    if (model.file(i).name != kShardIndexName) continue;
    const auto content = model.LoadFile(i);
    if (!content.ok()) return "";
    const auto map =
        ParseShardIndex({reinterpret_cast<const char*>(content->data()), content->size()});
    if (!map.ok()) return "";
    std::unordered_set<std::string_view> names;
    for (size_t t = 0; t < model.tensor_count(); ++t) names.insert(model.tensor(t).name);
    size_t missing = 0;
    for (const auto& [tensor, file] : *map) missing += names.contains(tensor) ? 0 : 1;
    if (missing == 0) return "";
    return std::string("note: ") + kShardIndexName + " names " + std::to_string(missing) +
           " tensors that were not packed\n";
  }
  return "";
}

Status Report(const UnpackArguments& arguments, const ModelLoader& model, const Written& written,
              double seconds) {
  const ExportCounts& counts = written.counts;
  if (!arguments.quiet && !arguments.gguf) std::fputs(NoteOnShardIndex(model).c_str(), stderr);
  if (arguments.json) {
    nlohmann::ordered_json json;
    json["file"] = PathForMessages(arguments.file);
    json["output"] = arguments.output;
    json["tensors"] = model.tensor_count();
    json["shards"] = written.shards;
    json["files"] = written.files;
    json["bytes_read"] = counts.bytes_read;
    json["bytes_written"] = counts.bytes_written;
    json["seconds"] = seconds;
    json["io"] = model.io_description();
    return PrintOut(json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  if (arguments.quiet) return {};
  return PrintOut(arguments.output + ": " + std::to_string(model.tensor_count()) + " tensors in " +
                  std::to_string(written.shards) + " shards and " + std::to_string(written.files) +
                  " files, " + FormatBytes(counts.bytes_read) + " -> " +
                  FormatBytes(counts.bytes_written) + ", " + FormatSeconds(seconds) + "\n");
}

}  // namespace

Status Unpack(const UnpackArguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  NWC_ASSIGN_OR_RETURN(const auto model, OpenModel(arguments.file, arguments.load));
  NWC_RETURN_IF_ERROR(CheckInputIsElsewhere(arguments, *model));
  NWC_ASSIGN_OR_RETURN(const auto folder, OutputFolder::Create(arguments.output, arguments.force));
  Progress progress(arguments.quiet);
  Written written;
  NWC_RETURN_IF_ERROR(WriteFiles(*model, folder->temporary(), arguments.gguf, &written));
  NWC_RETURN_IF_ERROR(
      WriteWeights(*model, folder->temporary(), arguments.gguf, &progress, &written));
  NWC_RETURN_IF_ERROR(folder->Commit());
  progress.EndLine();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
  return Report(arguments, *model, written, seconds.count());
}

}  // namespace nwc
