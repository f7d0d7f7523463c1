#include "tools/download.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <set>

#include "format/layout.h"
#include "loader/byte_source.h"
#include "loader/shard_set.h"
#include "tools/atomic_file.h"
#include "tools/container_check.h"
#include "tools/display.h"
#include "tools/open_container.h"
#include "tools/parallel_for.h"
#include "tools/part_file.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint64_t kRunBytes = 4 << 20;  // a request
constexpr const char* kPartEnding = ".part";

struct Range {
  uint64_t begin = 0, end = 0;  // bytes of the container
};

struct Totals {
  uint64_t bytes_read = 0;  // from the original, superblocks and indexes included
  uint64_t bytes_kept = 0;  // payload that an earlier download left
};

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

std::string FileNameOf(const std::string& path) { return fs::path(path).filename().string(); }

// Where files, codecs, side information and chunks begin; at the end, where the payload is over.
std::vector<uint64_t> PieceOffsets(const Loader& loader) {
  std::vector<uint64_t> offsets = {loader.superblock().index_offset};
  for (const FileInfo& file : loader.index().files) offsets.push_back(file.extent.offset);
  for (const NeuralCodecInfo& codec : loader.index().neural_codecs) {
    offsets.push_back(codec.extent.offset);
  }
  for (const TensorInfo& tensor : loader.index().tensors) {
    if (tensor.side() != nullptr) offsets.push_back(tensor.side()->offset);
    for (const Chunk& chunk : tensor.chunks) offsets.push_back(chunk.offset);
  }
  std::sort(offsets.begin(), offsets.end());
  return offsets;
}

// What a check found wrong, up to the next piece each; neighbours as one.
std::vector<Range> Missing(const Loader& original, const CheckReport& report) {
  const std::vector<uint64_t> offsets = PieceOffsets(original);
  std::vector<Range> missing;
  for (const Problem& problem : report.problems) {
    if (!problem.byte) continue;
    const auto next = std::upper_bound(offsets.begin(), offsets.end(), *problem.byte);
    const uint64_t end = next == offsets.end() ? offsets.back() : *next;
    if (!missing.empty() && missing.back().end >= *problem.byte) {
      missing.back().end = std::max(missing.back().end, end);
    } else {
      missing.push_back({*problem.byte, end});
    }
  }
  return missing;
}

std::vector<Range> InRuns(const std::vector<Range>& ranges) {
  std::vector<Range> runs;
  for (const Range& range : ranges) {
    for (uint64_t begin = range.begin; begin < range.end; begin += kRunBytes) {
      runs.push_back({begin, std::min(begin + kRunBytes, range.end)});
    }
  }
  return runs;
}

uint64_t SizeOf(const std::vector<Range>& ranges) {
  uint64_t size = 0;
  for (const Range& range : ranges) size += range.end - range.begin;
  return size;
}

// The copy of one container.
class Copy {
 public:
  Copy(const Loader& original, PartFile* part, Progress* progress)
      : original_(original), part_(*part), progress_(*progress) {}

  // Fetches what is not there, and checks all of it.
  Status Run(Totals* totals);

 private:
  Result<CheckReport> Check(const char* stage) const;
  Status FetchRuns(const std::vector<Range>& runs);
  Status FetchRun(const Range& run);
  Status Judge(CheckReport report) const;

  const Loader& original_;
  PartFile& part_;
  Progress& progress_;
  uint64_t fetched_ = 0;
};

Status Copy::Run(Totals* totals) {
  const uint64_t end = original_.superblock().index_offset;
  std::vector<Range> missing = {{kSuperblockSize, end}};
  if (part_.resumed()) {
    NWC_ASSIGN_OR_RETURN(const CheckReport report, Check("checking what is there"));
    missing = Missing(original_, report);
  }
  totals->bytes_kept += end - kSuperblockSize - SizeOf(missing);
  const Status status = FetchRuns(InRuns(missing));
  totals->bytes_read += fetched_ + part_.index_bytes_read();
  NWC_RETURN_IF_ERROR(status);
  if (fetched_ != 0) {
    NWC_ASSIGN_OR_RETURN(CheckReport report, Check("verifying"));
    NWC_RETURN_IF_ERROR(Judge(std::move(report)));
  }
  return part_.Complete();
}

Result<CheckReport> Copy::Check(const char* stage) const {
  CheckSettings settings;
  settings.cancel = &StopRequested();
  settings.progress = [&](const std::string& item, uint64_t done, uint64_t total) {
    progress_.Update(stage, item, done, total);
  };
  auto report = part_.Check(settings);
  progress_.EndLine();
  return report;
}

Status Copy::FetchRuns(const std::vector<Range>& runs) {
  const uint64_t total = SizeOf(runs);
  std::mutex mutex;
  Status failed;
  std::atomic<bool> stopped = false;
  const auto fetch = [&](size_t i) {
    if (stopped) return;
    const Status status = FetchRun(runs[i]);
    const std::lock_guard lock(mutex);
    if (status.ok()) {
      fetched_ += runs[i].end - runs[i].begin;
      progress_.Update("downloading", FileNameOf(original_.path()), fetched_, total);
    } else if (failed.ok()) {
      failed = status;
      stopped = true;
    }
  };
  ParallelFor(runs.size(), static_cast<int>(original_.source().traits().parallel_reads), fetch);
  progress_.EndLine();
  return failed;
}

Status Copy::FetchRun(const Range& run) {
  if (StopRequested()) return Status(ErrorCode::kCancelled, original_.path() + ": stopped");
  try {
    NWC_ASSIGN_OR_RETURN(AlignedBuffer bytes, AlignedBuffer::Allocate(run.end - run.begin));
    NWC_RETURN_IF_ERROR(
        original_.source().ReadUnlessStopped(run.begin, bytes.mutable_span(), StopRequested()));
    return part_.Write(run.begin, bytes.span());
  } catch (const std::bad_alloc&) {  // which must not leave a thread
    return Status(ErrorCode::kOutOfMemory, original_.path() + ": no memory");
  }
}

// Padding that is not zero (R31) was copied as it is: loaders ignore it.
Status Copy::Judge(CheckReport report) const {
  std::erase_if(report.problems, [](const Problem& p) { return p.rule == 31; });
  if (report.problems.empty()) return {};
  const Problem& first = report.problems.front();
  const size_t more = report.problems.size() - 1;
  return Status::Corrupt(
      first.rule, first.message + (more == 0 ? "" : ", and " + std::to_string(more) + " more") +
                      "; " + original_.path() +
                      " is damaged, or was on the way: the same command fetches these bytes again");
}

// Says what is kept of a download that failed.
Status Interrupted(const Status& status, const std::string& part) {
  std::error_code error;
  if (!fs::exists(part, error)) return status;
  const std::string kept = "what came is kept in " + part + ": the same command goes on";
  if (status.code() == ErrorCode::kCancelled) {
    std::fprintf(stderr, "%s\n", Printable(kept).c_str());
  } else if (status.code() == ErrorCode::kIo || status.code() == ErrorCode::kOutOfMemory) {
    return Status(status.code(), status.message() + "; " + kept);
  }
  return status;
}

Status CopyContainer(const Loader& original, const std::string& path, Progress* progress,
                     Totals* totals) {
  NWC_ASSIGN_OR_RETURN(const auto part, PartFile::Open(path, original));
  if (part->replaced()) {
    std::fprintf(stderr, "note: %s was of another version of %s: starting anew\n",
                 Printable(path).c_str(), Printable(original.path()).c_str());
  }
  return Copy(original, part.get(), progress).Run(totals);
}

Status DownloadContainer(const FetchArguments& arguments, const Loader& original,
                         Progress* progress, Totals* totals) {
  const std::string part = arguments.output + kPartEnding;
  const Status status = CopyContainer(original, part, progress, totals);
  if (!status.ok()) return Interrupted(status, part);
  return PublishFile(part, arguments.output, arguments.force);
}

// Under which names the files of a set are written.
Result<std::vector<std::string>> ShardNames(const ShardSet& set) {
  std::vector<std::string> names;
  if (set.index_text.empty()) {
    for (const auto& shard : set.shards) names.push_back(FileNameOf(shard->path()));
    return names;
  }
  NWC_ASSIGN_OR_RETURN(const SetIndex index, ParseSetIndex(set.index_text));
  for (const SetIndex::Shard& shard : index.shards) names.push_back(shard.file);
  return names;
}

// The folder of a part, with no containers in it but those of this set. An index may have been cut
// off while it was written.
Status MakePartFolder(const std::string& folder, const std::set<std::string>& names) {
  std::error_code error;
  fs::create_directory(folder, error);
  if (error) return Status(ErrorCode::kIo, folder + ": cannot create: " + error.message());
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    const std::string name = i->path().filename().string();
    if (names.contains(name) || name.find(kSetIndexEnding) != name.npos) continue;
    return Usage(folder + ": holds " + Quote(name) +
                 ", which is not of this set; remove the folder to start anew");
  }
  if (error) return Status(ErrorCode::kIo, folder + ": cannot list: " + error.message());
  return {};
}

Status WriteIndex(const std::string& path, const std::string& text) {
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path, true));
  NWC_RETURN_IF_ERROR(file->Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  return file->Commit({});
}

Status CopySet(const ShardSet& set, const std::string& folder, Progress* progress, Totals* totals) {
  NWC_ASSIGN_OR_RETURN(const auto names, ShardNames(set));
  const std::string index_name = set.index_text.empty() ? "" : FileNameOf(set.name);
  std::set<std::string> expected(names.begin(), names.end());
  if (!index_name.empty()) expected.insert(index_name);
  NWC_RETURN_IF_ERROR(MakePartFolder(folder, expected));
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string path = folder + "/" + names[i];
    NWC_RETURN_IF_ERROR(CopyContainer(*set.shards[i], path, progress, totals));
  }
  const std::string first = folder + "/" + (index_name.empty() ? names[0] : index_name);
  if (!index_name.empty()) NWC_RETURN_IF_ERROR(WriteIndex(first, set.index_text));
  return OpenShardSet(first, {}).status();  // whether they belong together
}

// Nothing is at `path`, or an empty folder.
Status CheckFolder(const std::string& path) {
  std::error_code error;
  const fs::path parent = fs::path(path).parent_path();
  if (!parent.empty() && !fs::is_directory(parent, error)) {
    return Usage(path + ": " + Quote(parent.string()) +
                 " is not a folder, expected one; create it");
  }
  if (!fs::exists(fs::symlink_status(path, error))) return {};
  if (fs::is_directory(fs::symlink_status(path, error)) && fs::is_empty(path, error)) return {};
  return Usage(path +
               ": already exists, expected a new or an empty folder for the set; choose "
               "another -o or remove it");
}

Status DownloadSet(const std::string& output, const ShardSet& set, Progress* progress,
                   Totals* totals) {
  std::string path = fs::path(output).lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  NWC_RETURN_IF_ERROR(CheckFolder(path));
  const std::string part = path + kPartEnding;
  const Status status = CopySet(set, part, progress, totals);
  if (!status.ok()) return Interrupted(status, part);
  if (std::rename(part.c_str(), path.c_str()) != 0) {
    return Status(ErrorCode::kIo,
                  path + ": cannot rename " + Quote(part) + ": " + std::strerror(errno));
  }
  return SyncFolderOf(path);
}

bool IsSet(const ShardSet& set) { return set.shards.size() > 1 || !set.index_text.empty(); }

Status CheckOutput(const FetchArguments& arguments, const ShardSet& set) {
  const bool container_name = arguments.output.ends_with(kContainerEnding);
  if (IsSet(set)) {
    if (!container_name) return {};
    return Usage(arguments.output + ": " + set.name + " is a set of " +
                 std::to_string(set.shards.size()) +
                 " containers, expected the name of a folder for them; choose another -o");
  }
  if (!container_name) {
    return Usage(arguments.output +
                 ": expected a name that ends in .nwc for a copy of the container; for some of "
                 "its tensors say which with --tensor or --layers");
  }
  std::error_code error;
  if (fs::equivalent(set.shards[0]->path(), arguments.output, error)) {
    return Usage(arguments.output + ": is the container itself, expected another path");
  }
  return CheckOutputPath(arguments.output, arguments.force);
}

uint64_t FileBytes(const ShardSet& set) {
  uint64_t size = 0;
  for (const auto& shard : set.shards) size += shard->superblock().file_size;
  return size;
}

Status PrintReport(const FetchArguments& arguments, const ShardSet& set, const Totals& totals,
                   double seconds) {
  if (!arguments.json) {
    if (arguments.quiet) return {};
    const std::string kept =
        totals.bytes_kept == 0 ? "" : "; " + FormatBytes(totals.bytes_kept) + " were there";
    return PrintOut(arguments.output + ": " + FormatBytes(FileBytes(set)) +
                    ", all hashes match; read " + FormatBytes(totals.bytes_read) + kept + "; " +
                    FormatSeconds(seconds) + "\n");
  }
  Json json;
  json["file"] = PathForMessages(arguments.file);
  json["output"] = arguments.output;
  json["file_bytes"] = FileBytes(set);
  json["bytes_read"] = totals.bytes_read;
  json["bytes_kept"] = totals.bytes_kept;
  json["seconds"] = seconds;
  json["io"] = set.shards[0]->io_description();
  json["containers"] = Json::array();
  for (const auto& shard : set.shards) {
    json["containers"].push_back({{"file", FileNameOf(shard->path())},
                                  {"file_bytes", shard->superblock().file_size},
                                  {"root_hash", ToHex(shard->superblock().root_hash)}});
  }
  return PrintOut(json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

Status Download(const FetchArguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  NWC_ASSIGN_OR_RETURN(const ShardSet set, OpenSet(arguments.file, arguments.load));
  NWC_RETURN_IF_ERROR(CheckOutput(arguments, set));
  Totals totals;
  for (const auto& shard : set.shards) {
    totals.bytes_read += kSuperblockSize + shard->superblock().index_size;
  }
  Progress progress(arguments.quiet);
  NWC_RETURN_IF_ERROR(IsSet(set)
                          ? DownloadSet(arguments.output, set, &progress, &totals)
                          : DownloadContainer(arguments, *set.shards[0], &progress, &totals));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return PrintReport(arguments, set, totals, seconds);
}

}  // namespace nwc
