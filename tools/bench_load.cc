#include "tools/bench_load.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/display.h"
#include "tools/open_container.h"
#include "tools/page_cache.h"
#include "tools/parallel_for.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kColdShare = 0.01;  // at most this share of a file's pages may be left
constexpr double kHotShare = 0.99;   // at least this share has to be there

struct Outcome {
  std::vector<std::string> files;  // on disk; empty for a URL
  std::string io;
  size_t tensors = 0;
  uint64_t file_bytes = 0, index_bytes = 0;
  LoadStatistics load;          // of the last round
  std::vector<double> seconds;  // of each round
  double resident_share = 0;    // of the files before a round: the most when cold, else the least
  std::optional<uint64_t> peak_memory_bytes;

  [[nodiscard]] uint64_t BytesRead() const { return index_bytes + load.bytes_read; }
  [[nodiscard]] double FastestSeconds() const {
    return *std::min_element(seconds.begin(), seconds.end());
  }
  [[nodiscard]] double MedianSeconds() const {
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    const size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
  [[nodiscard]] double GbPerSecond(uint64_t bytes) const {
    return static_cast<double>(bytes) / MedianSeconds() / 1e9;
  }
};

bool IsEmpty(const Selection& selection) {
  return selection.regexes.empty() && selection.layers.empty();
}

const char* StateName(const BenchLoadArguments& arguments) {
  if (IsHttpUrl(arguments.file)) return "remote";
  return arguments.cold ? "cold" : "hot";
}

// Most memory that this process had at once (VmHWM). getrusage would begin with the parent's.
std::optional<uint64_t> PeakMemoryBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    uint64_t kilobytes = 0;
    if (key == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

Result<std::vector<size_t>> WantedTensors(const ModelLoader& model, const Selection& selection) {
  if (!IsEmpty(selection)) return SelectTensors(model, selection);
  std::vector<size_t> numbers = model.All();
  std::erase_if(numbers, [&](size_t i) { return !model.tensor(i).supported(); });
  return numbers;
}

// Opens the model and keeps all its tensors until all are there.
Status LoadOnce(const BenchLoadArguments& arguments, Outcome* outcome) {
  const auto begun = std::chrono::steady_clock::now();
  NWC_ASSIGN_OR_RETURN(const auto model, OpenModel(arguments.file, arguments.load));
  NWC_ASSIGN_OR_RETURN(const auto numbers, WantedTensors(*model, arguments.selection));
  std::vector<Tensor> tensors;
  tensors.reserve(numbers.size());
  const auto keep = [&](Tensor tensor) -> Status {
    tensors.push_back(std::move(tensor));
    return {};
  };
  NWC_RETURN_IF_ERROR(model->Stream(numbers, keep, &outcome->load, &StopRequested()));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
  outcome->seconds.push_back(seconds.count());
  outcome->io = model->io_description();
  outcome->tensors = tensors.size();
  outcome->file_bytes = model->file_bytes();
  outcome->index_bytes = model->index_bytes();
  return {};
}

// The files that hold the model; opens them, so it comes before their pages are dropped.
Result<std::vector<std::string>> FilesOf(const BenchLoadArguments& arguments) {
  std::vector<std::string> files;
  if (IsHttpUrl(arguments.file)) return files;
  LoadOptions quiet = arguments.load;
  quiet.log = {};
  NWC_ASSIGN_OR_RETURN(const auto model, OpenModel(arguments.file, quiet));
  for (size_t i = 0; i < model->shard_count(); ++i) files.push_back(model->shard(i).path());
  return files;
}

Status MakeCold(Outcome* outcome) {
  for (const std::string& file : outcome->files) {
    NWC_RETURN_IF_ERROR(DropPages(file));
    NWC_ASSIGN_OR_RETURN(const double left, ResidentShare(file));
    outcome->resident_share = std::max(outcome->resident_share, left);
    if (left <= kColdShare) continue;
    return Status(ErrorCode::kIo,
                  file + ": " + FormatNumber("%.1f %%", 100 * left) +
                      " of its pages stayed in the page cache after they were dropped, expected "
                      "at most 1 %; close programs that have it mapped, copy it to a file of your "
                      "own on a disk, or measure without --cold");
  }
  return {};
}

// Reads what is not in the page cache, so that O_DIRECT, too, may find it there.
Status MakeHot(Outcome* outcome) {
  outcome->resident_share = 1;
  for (const std::string& file : outcome->files) {
    NWC_ASSIGN_OR_RETURN(double share, ResidentShare(file));
    if (share < kHotShare) {
      std::ifstream stream(file, std::ios::binary);
      std::vector<char> buffer(1 << 20);
      while (!StopRequested() &&
             stream.read(buffer.data(), static_cast<std::streamsize>(buffer.size()))) {
      }
      NWC_ASSIGN_OR_RETURN(share, ResidentShare(file));
    }
    outcome->resident_share = std::min(outcome->resident_share, share);
  }
  return {};
}

Result<Outcome> Measure(const BenchLoadArguments& arguments, Progress* progress) {
  Outcome outcome;
  NWC_ASSIGN_OR_RETURN(outcome.files, FilesOf(arguments));
  if (!arguments.cold && !outcome.files.empty()) NWC_RETURN_IF_ERROR(MakeHot(&outcome));
  const auto rounds = static_cast<uint64_t>(arguments.rounds);
  for (uint64_t round = 0; round < rounds; ++round) {
    progress->Update("loading", std::string(StateName(arguments)) + ", round", round, rounds);
    if (arguments.cold) NWC_RETURN_IF_ERROR(MakeCold(&outcome));
    NWC_RETURN_IF_ERROR(LoadOnce(arguments, &outcome));
  }
  progress->EndLine();
  outcome.peak_memory_bytes = PeakMemoryBytes();
  return outcome;
}

std::string FormatJson(const BenchLoadArguments& arguments, const Outcome& outcome) {
  Json json;
  json["file"] = PathForMessages(arguments.file);
  json["state"] = StateName(arguments);
  json["resident_share_before"] =
      outcome.files.empty() ? Json(nullptr) : Json(outcome.resident_share);
  json["io"] = outcome.io;
  json["threads"] = ThreadCount(arguments.load.threads);
  json["simd"] = SimdName(arguments.load.simd);
  json["tensors"] = outcome.tensors;
  json["file_bytes"] = outcome.file_bytes;
  json["index_bytes"] = outcome.index_bytes;
  json["bytes_read"] = outcome.BytesRead();
  json["reads"] = outcome.load.reads;
  json["decoded_bytes"] = outcome.load.bytes_decoded;
  json["seconds"] = outcome.MedianSeconds();
  json["fastest_seconds"] = outcome.FastestSeconds();
  json["rounds"] = outcome.seconds;
  json["file_gb_per_second"] = outcome.GbPerSecond(outcome.BytesRead());
  json["decoded_gb_per_second"] = outcome.GbPerSecond(outcome.load.bytes_decoded);
  json["peak_memory_bytes"] =
      outcome.peak_memory_bytes ? Json(*outcome.peak_memory_bytes) : Json(nullptr);
  json["peak_staging_bytes"] = outcome.load.peak_staging_bytes;
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FormatText(const BenchLoadArguments& arguments, const Outcome& outcome) {
  const std::vector<Row> rows = {
      {"", "seconds", "fastest", "file GB/s", "decoded GB/s", "read", "decoded", "peak memory"},
      {std::string("load, ") + StateName(arguments), FormatNumber("%.4f", outcome.MedianSeconds()),
       FormatNumber("%.4f", outcome.FastestSeconds()),
       FormatNumber("%.3f", outcome.GbPerSecond(outcome.BytesRead())),
       FormatNumber("%.3f", outcome.GbPerSecond(outcome.load.bytes_decoded)),
       FormatBytes(outcome.BytesRead()), FormatBytes(outcome.load.bytes_decoded),
       outcome.peak_memory_bytes ? FormatBytes(*outcome.peak_memory_bytes) : "unknown"}};
  std::string text = AlignColumns(rows, "lrrrrrrr") + std::to_string(outcome.tensors) +
                     " tensors, median of " + std::to_string(outcome.seconds.size()) + " loads; " +
                     std::to_string(ThreadCount(arguments.load.threads)) + " threads; " +
                     outcome.io + "\n";
  if (outcome.files.empty()) return text;
  return text + FormatNumber("%.1f %% of the files' pages were in memory before\n",
                             100 * outcome.resident_share);
}

}  // namespace

Status BenchLoad(const BenchLoadArguments& arguments) {
  if (!IsEmpty(arguments.selection)) NWC_RETURN_IF_ERROR(CheckSelection(arguments.selection));
  if (arguments.cold && IsHttpUrl(arguments.file)) {
    return Status(ErrorCode::kUsage,
                  "--cold: the page cache of a web server cannot be dropped "
                  "from here, expected a path; leave --cold out");
  }
  Progress progress(arguments.quiet);
  NWC_ASSIGN_OR_RETURN(const Outcome outcome, Measure(arguments, &progress));
  return PrintOut(arguments.json ? FormatJson(arguments, outcome) : FormatText(arguments, outcome));
}

}  // namespace nwc
