#include "tools/bench.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/bench_decode.h"
#include "tools/bench_device.h"
#include "tools/bench_stages.h"
#include "tools/open_container.h"
#include "tools/page_cache.h"
#include "tools/parallel_for.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kSampleBytes = 512 << 20;  // decoded, a profile
constexpr double kColdShare = 0.01;           // at most this share of pages may be left
constexpr uint64_t kSteps = 6;

double PerSecond(uint64_t amount, double seconds) {
  return seconds > 0 ? static_cast<double>(amount) / seconds : 0;
}

struct LoadSpeed {
  double seconds = 0;  // median, with opening the container
  double fastest_seconds = 0;
  double resident_share = 0;  // of the file's pages before a run: the most
  uint64_t bytes_read = 0, bytes_decoded = 0;
  std::string io;  // the way of reading; auto may choose another for a cold file than for a hot one
};

struct Outcome {
  int threads = 1;
  std::string io;
  uint64_t file_bytes = 0, payload_bytes = 0;
  Speed hash;
  std::array<std::optional<Speed>, kProfileCount> decode;  // one core
  std::optional<Speed> decode_all, decode_threads;         // all profiles: one core, all threads
  std::optional<StageSpeeds> stages;
  std::optional<LoadSpeed> hot, cold;
  std::string cold_note;

  // Of stream tensors; of all where there are none.
  [[nodiscard]] std::optional<double> GweightsPerCore() const {
    const auto& stream = decode[static_cast<size_t>(Profile::kStream)];
    const auto& speed = stream ? stream : decode_all;
    if (!speed) return std::nullopt;
    return PerSecond(speed->weights, speed->seconds) / 1e9;
  }

  // Core-seconds of hashing the payload over the core-seconds of a hot load.
  [[nodiscard]] std::optional<double> HashShare() const {
    if (!hot || hash.stored_bytes == 0) return std::nullopt;
    const double hashing =
        static_cast<double>(payload_bytes) * hash.seconds / static_cast<double>(hash.stored_bytes);
    return hashing / (hot->seconds * threads);
  }
};

std::vector<size_t> Loadable(const Loader& loader) {
  std::vector<size_t> numbers;
  for (const size_t i : loader.All()) {
    if (loader.index().tensors[i].supported()) numbers.push_back(i);
  }
  return numbers;
}

// Opens and streams everything once; fills in the figures of the run.
Status LoadOnce(const BenchArguments& arguments, LoadSpeed* speed) {
  NWC_ASSIGN_OR_RETURN(const double resident, ResidentShare(arguments.file));
  speed->resident_share = std::max(speed->resident_share, resident);
  const auto begun = std::chrono::steady_clock::now();
  NWC_ASSIGN_OR_RETURN(const auto loader, OpenContainer(arguments.file, arguments.load));
  LoadStatistics statistics;
  const auto discard = [](const Tensor&) -> Status { return {}; };
  NWC_RETURN_IF_ERROR(loader->Stream(Loadable(*loader), discard, &statistics, &StopRequested()));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
  speed->seconds = seconds.count();
  speed->io = loader->io_description();
  speed->bytes_read = statistics.bytes_read;
  speed->bytes_decoded = statistics.bytes_decoded;
  return {};
}

// The median of `runs` loads; `before` comes before each.
Result<LoadSpeed> MeasureLoad(const BenchArguments& arguments,
                              const std::function<Status()>& before) {
  LoadSpeed speed;
  std::vector<double> seconds;
  for (int run = 0; run < arguments.runs; ++run) {
    NWC_RETURN_IF_ERROR(before());
    NWC_RETURN_IF_ERROR(LoadOnce(arguments, &speed));
    seconds.push_back(speed.seconds);
  }
  speed.fastest_seconds = *std::min_element(seconds.begin(), seconds.end());
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  speed.seconds = *middle;
  return speed;
}

// Cold figures where pages can be dropped; where not, a note says why there are none.
Status MeasureCold(const BenchArguments& arguments, Outcome* outcome) {
  if (const Status dropped = DropPages(arguments.file); !dropped.ok()) {
    outcome->cold_note = dropped.message();
    return {};
  }
  NWC_ASSIGN_OR_RETURN(const double left, ResidentShare(arguments.file));
  if (left <= kColdShare) {
    NWC_ASSIGN_OR_RETURN(const LoadSpeed cold,
                         MeasureLoad(arguments, [&] { return DropPages(arguments.file); }));
    if (cold.resident_share <= kColdShare) {
      outcome->cold = cold;
      return {};
    }
  }
  outcome->cold_note =
      FormatNumber("not measured: %.1f %% of the file's pages stayed resident", 100 * left);
  return {};
}

Status MeasureLoads(const BenchArguments& arguments, Outcome* outcome) {
  LoadSpeed warm_up;
  BenchArguments through_cache = arguments;  // O_DIRECT would leave the file as cold as it was
  through_cache.load.io = IoMode::kPread;
  NWC_RETURN_IF_ERROR(LoadOnce(through_cache, &warm_up));
  NWC_ASSIGN_OR_RETURN(outcome->hot, MeasureLoad(arguments, [] { return Status(); }));
  return MeasureCold(arguments, outcome);
}

Status MeasureInMemory(const Loader& loader, const BenchArguments& arguments, Progress* progress,
                       Outcome* outcome) {
  NWC_ASSIGN_OR_RETURN(auto sample, ReadSample(loader, kSampleBytes));
  if (sample.empty()) return {};
  const auto begin_step = [&](const char* what, uint64_t step) -> Status {
    progress->Update("measuring", what, step, kSteps);
    return StopRequested() ? Status(ErrorCode::kCancelled, "stopped") : Status();
  };
  NWC_RETURN_IF_ERROR(begin_step("hash", 1));
  outcome->hash = MeasureHash(sample, arguments.runs);
  std::vector<PackedTensorBytes*> all;
  std::array<std::vector<PackedTensorBytes*>, kProfileCount> by_profile;
  for (PackedTensorBytes& t : sample) {
    all.push_back(&t);
    by_profile[t.info->profile_value].push_back(&t);
  }
  NWC_RETURN_IF_ERROR(begin_step("decode, one core", 2));
  for (size_t p = 0; p < by_profile.size(); ++p) {
    if (by_profile[p].empty()) continue;
    NWC_ASSIGN_OR_RETURN(outcome->decode[p], MeasureDecode(by_profile[p], 1, arguments.runs));
  }
  NWC_ASSIGN_OR_RETURN(outcome->decode_all, MeasureDecode(all, 1, arguments.runs));
  NWC_RETURN_IF_ERROR(begin_step("decode, all threads", 3));
  NWC_ASSIGN_OR_RETURN(outcome->decode_threads,
                       MeasureDecode(all, outcome->threads, arguments.runs));
  NWC_RETURN_IF_ERROR(begin_step("stages of stream decoding", 4));
  NWC_ASSIGN_OR_RETURN(outcome->stages, MeasureStages(&sample));
  return {};
}

Json OrNull(std::optional<double> value) { return value ? Json(*value) : Json(nullptr); }

Json SpeedJson(const std::optional<Speed>& speed) {
  if (!speed) return nullptr;
  Json json;
  json["tensors"] = speed->tensors;
  json["weights"] = speed->weights;
  json["stored_bytes"] = speed->stored_bytes;
  json["decoded_bytes"] = speed->decoded_bytes;
  json["seconds"] = speed->seconds;
  json["fastest_seconds"] = speed->fastest_seconds;
  json["gweights_per_second"] = PerSecond(speed->weights, speed->seconds) / 1e9;
  json["decoded_gb_per_second"] = PerSecond(speed->decoded_bytes, speed->seconds) / 1e9;
  return json;
}

Json StagesJson(const std::optional<StageSpeeds>& speeds) {
  if (!speeds) return nullptr;
  const auto one = [&](const StageSpeed& speed) {
    Json json;
    json["cycles_per_weight"] =
        speed.seconds * speeds->hertz / static_cast<double>(speeds->weights);
    json["gweights_per_second"] = PerSecond(speeds->weights, speed.seconds) / 1e9;
    json["fastest_gweights_per_second"] = PerSecond(speeds->weights, speed.fastest_seconds) / 1e9;
    return json;
  };
  Json json;
  json["weights"] = speeds->weights;
  json["core_hertz"] = speeds->hertz;
  json["entropy"] = one(speeds->stages[0]);
  json["entropy_trellis"] = one(speeds->stages[1]);
  json["entropy_trellis_scale"] = one(speeds->stages[2]);
  json["all"] = one(speeds->stages[3]);
  json["memory_copy"] = one(speeds->copy);
  return json;
}

Json LoadJson(const std::optional<LoadSpeed>& load) {
  if (!load) return nullptr;
  Json json;
  json["seconds"] = load->seconds;
  json["fastest_seconds"] = load->fastest_seconds;
  json["bytes_read"] = load->bytes_read;
  json["decoded_bytes"] = load->bytes_decoded;
  json["file_gb_per_second"] = PerSecond(load->bytes_read, load->seconds) / 1e9;
  json["decoded_gb_per_second"] = PerSecond(load->bytes_decoded, load->seconds) / 1e9;
  json["resident_share_before"] = load->resident_share;
  json["io"] = load->io;
  return json;
}

std::string FormatJson(const BenchArguments& arguments, const Outcome& outcome) {
  Json json;
  json["file"] = PathForMessages(arguments.file);
  json["file_bytes"] = outcome.file_bytes;
  json["threads"] = outcome.threads;
  json["runs"] = arguments.runs;
  json["simd"] = SimdName(BestSimd());
  json["io"] = outcome.io;
  json["decode_gweights_per_second_per_core"] = OrNull(outcome.GweightsPerCore());
  json["hash_gb_per_second"] = PerSecond(outcome.hash.stored_bytes, outcome.hash.seconds) / 1e9;
  json["hash_share_of_load"] = OrNull(outcome.HashShare());
  json["load_hot_seconds"] = outcome.hot ? Json(outcome.hot->seconds) : Json(nullptr);
  json["load_cold_seconds"] = outcome.cold ? Json(outcome.cold->seconds) : Json(nullptr);
  json["load_cold_note"] = outcome.cold_note.empty() ? Json(nullptr) : Json(outcome.cold_note);
  json["decode_one_core"] = Json::object();
  for (size_t p = 0; p < outcome.decode.size(); ++p) {
    json["decode_one_core"][ProfileName(static_cast<Profile>(p))] = SpeedJson(outcome.decode[p]);
  }
  json["decode_one_core"]["all"] = SpeedJson(outcome.decode_all);
  json["decode_all_threads"] = SpeedJson(outcome.decode_threads);
  json["stream_stages_one_core"] = StagesJson(outcome.stages);
  json["load_hot"] = LoadJson(outcome.hot);
  json["load_cold"] = LoadJson(outcome.cold);
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Row SpeedRow(const std::string& what, const Speed& speed) {
  const double gweights = PerSecond(speed.weights, speed.seconds) / 1e9;
  return {what,
          FormatNumber(gweights < 0.01 ? "%.6f" : "%.3f", gweights),  // wide nets are slow

          FormatNumber("%.2f", PerSecond(speed.stored_bytes, speed.seconds) / 1e9),
          FormatNumber("%.2f", PerSecond(speed.decoded_bytes, speed.seconds) / 1e9),
          FormatNumber("%.6f", speed.seconds),
          FormatNumber("%.6f", speed.fastest_seconds),
          std::to_string(speed.tensors) + " tensors"};
}

Row LoadRow(const std::string& what, const LoadSpeed& load, const Outcome& outcome) {
  return {what,
          "",
          FormatNumber("%.2f", PerSecond(load.bytes_read, load.seconds) / 1e9),
          FormatNumber("%.2f", PerSecond(load.bytes_decoded, load.seconds) / 1e9),
          FormatNumber("%.6f", load.seconds),
          FormatNumber("%.6f", load.fastest_seconds),
          std::to_string(outcome.threads) + " threads, " +
              FormatNumber("%.1f %% of pages resident before; ", 100 * load.resident_share) +
              load.io};
}

std::string FormatText(const BenchArguments& arguments, const Outcome& outcome) {
  std::vector<Row> rows = {
      {"", "Gweights/s", "stored GB/s", "decoded GB/s", "seconds", "fastest", ""}};
  if (outcome.decode_all) {
    const Speed& hash = outcome.hash;
    rows.push_back({"hash, one core", "",
                    FormatNumber("%.2f", PerSecond(hash.stored_bytes, hash.seconds) / 1e9), "",
                    FormatNumber("%.6f", hash.seconds), FormatNumber("%.6f", hash.fastest_seconds),
                    std::to_string(hash.tensors) + " tensors"});
  }
  for (size_t p = outcome.decode.size(); p-- > 0;) {
    if (!outcome.decode[p]) continue;
    rows.push_back(
        SpeedRow(std::string("decode ") + ProfileName(static_cast<Profile>(p)) + ", one core",
                 *outcome.decode[p]));
  }
  if (outcome.decode_threads) {
    rows.push_back(SpeedRow("decode, " + std::to_string(outcome.threads) + " threads",
                            *outcome.decode_threads));
  }
  if (outcome.hot) rows.push_back(LoadRow("load, hot", *outcome.hot, outcome));
  if (outcome.cold) rows.push_back(LoadRow("load, cold", *outcome.cold, outcome));
  std::string text = AlignColumns(rows, "lrrrrrl");
  if (!outcome.cold_note.empty()) text += "load, cold: " + outcome.cold_note + "\n";
  if (outcome.stages) text += FormatStages(*outcome.stages);
  if (outcome.decode_all && outcome.decode_threads && outcome.threads > 1) {
    text += std::to_string(outcome.threads) +
            FormatNumber(" threads decode %.2f times as fast as one core\n",
                         outcome.decode_all->seconds / outcome.decode_threads->seconds);
  }
  if (const auto share = outcome.HashShare()) {
    text += FormatNumber("hashing is %.2f %% of the core time of a hot load\n", 100 * *share);
  }
  return text + "medians of " + std::to_string(arguments.runs) + " runs; decoder " +
         SimdName(BestSimd()) + "; " + outcome.io + "\n";
}

}  // namespace

Status Bench(const BenchArguments& arguments) {
  if (!arguments.device.empty()) return BenchDevice(arguments);
  NWC_ASSIGN_OR_RETURN(const auto loader, OpenContainer(arguments.file, arguments.load));
  Outcome outcome;
  outcome.threads = ThreadCount(arguments.load.threads);
  outcome.io = loader->io_description();
  outcome.file_bytes = loader->superblock().file_size;
  for (const size_t i : Loadable(*loader)) {
    outcome.payload_bytes += loader->index().tensors[i].payload_bytes();
  }
  Progress progress(arguments.quiet);
  if (const Status status = MeasureInMemory(*loader, arguments, &progress, &outcome);
      !status.ok()) {
    return status.WithContext(PathForMessages(arguments.file));
  }
  progress.Update("measuring", "load", 5, kSteps);
  NWC_RETURN_IF_ERROR(MeasureLoads(arguments, &outcome));
  progress.Update("measuring", "done", kSteps, kSteps);
  progress.EndLine();
  return PrintOut(arguments.json ? FormatJson(arguments, outcome) : FormatText(arguments, outcome));
}

}  // namespace nwc
