#include "tools/bench_stages.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>

#include "tools/report_text.h"

namespace nwc {
namespace {

constexpr uint64_t kWeights = 8 << 20;
constexpr int kRounds = 25;

double SecondsOf(const std::function<void()>& body) {
  const auto begun = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

// The fastest of several chains of additions, each of which takes one cycle.
double CoreHertz() {
  constexpr int kAdditions = 1 << 20, kUnrolled = 8;
  double fastest = 1;
  for (int run = 0; run < 10; ++run) {
    uint64_t x = 0;
    fastest = std::min(fastest, SecondsOf([&] {
                         for (int i = 0; i < kAdditions; i += kUnrolled) {
                           asm volatile(
                               "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
                               "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0"
                               : "+r"(x));
                         }
                       }));
  }
  return kAdditions / fastest;
}

struct MeasuredTensor {
  PackedTensorBytes* stored;
  std::unique_ptr<StreamDecoder> decoder;
};

Result<std::vector<MeasuredTensor>> Choose(std::vector<PackedTensorBytes>* sample,
                                           StageSpeeds* speeds) {
  std::vector<MeasuredTensor> chosen;
  for (PackedTensorBytes& t : *sample) {
    const TensorInfo& info = *t.info;
    if (info.profile() != Profile::kStream) continue;
    if (chosen.empty()) speeds->dtype = info.dtype;
    if (info.dtype != speeds->dtype) continue;
    if (speeds->weights != 0 && speeds->weights + info.weights() > kWeights) continue;
    NWC_ASSIGN_OR_RETURN(SideInfo side, ParseSideInfo(t.side(), info.rows, info.columns,
                                                      info.stream->scale, info.stream->row_gains));
    chosen.push_back({&t, std::make_unique<StreamDecoder>(info, std::move(side), t.codec.stream)});
    speeds->weights += info.weights();
    speeds->decoded_bytes += info.decoded_bytes();
  }
  return chosen;
}

Status DecodeAll(const std::vector<MeasuredTensor>& tensors, StreamStage last) {
  for (const MeasuredTensor& t : tensors) {
    const TensorInfo& info = *t.stored->info;
    const size_t size = DTypeSize(info.dtype), stride = info.columns * size;
    for (size_t c = 0; c < info.chunks.size(); ++c) {
      const TileRange tile = info.Tile(c);
      uint8_t* out = t.stored->decoded.mutable_span().data() + tile.row_begin * stride +
                     tile.column_begin * size;
      NWC_RETURN_IF_ERROR(
          t.decoder->DecodeUpTo(last, t.stored->chunk(c), tile, out, stride, BestSimd()));
    }
  }
  return {};
}

StageSpeed Summary(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front()};
}

Row StageRow(const char* what, const StageSpeed& speed, double seconds_before,
             const StageSpeeds& speeds) {
  const auto weights = static_cast<double>(speeds.weights);
  const double cycles = speeds.hertz / weights;
  return {what,
          FormatNumber("%.2f", (speed.seconds - seconds_before) * cycles),
          FormatNumber("%.2f", speed.seconds * cycles),
          FormatNumber("%.2f", speed.fastest_seconds * cycles),
          FormatNumber("%.3f", weights / speed.seconds / 1e9),
          FormatNumber("%.3f", weights / speed.fastest_seconds / 1e9)};
}

}  // namespace

Result<std::optional<StageSpeeds>> MeasureStages(std::vector<PackedTensorBytes>* sample) {
  StageSpeeds speeds;
  if (BestSimd() == Simd::kScalar) return std::optional<StageSpeeds>();
  NWC_ASSIGN_OR_RETURN(const std::vector<MeasuredTensor> tensors, Choose(sample, &speeds));
  if (tensors.empty()) return std::optional<StageSpeeds>();
  speeds.hertz = CoreHertz();
  std::vector<uint8_t> from(speeds.decoded_bytes, 1), to(speeds.decoded_bytes, 2);
  std::array<std::vector<double>, kStreamStageCount> seconds;
  std::vector<double> copy_seconds;
  Status status;
  for (int round = 0; round < kRounds; ++round) {
    for (size_t stage = 0; stage < seconds.size(); ++stage) {
      seconds[stage].push_back(
          SecondsOf([&] { status = DecodeAll(tensors, static_cast<StreamStage>(stage)); }));
      NWC_RETURN_IF_ERROR(status);
    }
    copy_seconds.push_back(SecondsOf([&] { std::memcpy(to.data(), from.data(), to.size()); }));
  }
  for (size_t stage = 0; stage < seconds.size(); ++stage) {
    speeds.stages[stage] = Summary(seconds[stage]);
  }
  speeds.copy = Summary(copy_seconds);
  return std::optional<StageSpeeds>(speeds);
}

std::string FormatStages(const StageSpeeds& speeds) {
  static constexpr const char* kNames[kStreamStageCount] = {"entropy", "+ trellis", "+ scale",
                                                            "+ store, escapes"};
  std::vector<Row> rows = {{"stream, one core", "cycles/weight alone", "up to here", "fastest",
                            "Gweights/s up to here", "fastest"}};
  double before = 0;
  for (size_t stage = 0; stage < speeds.stages.size(); ++stage) {
    rows.push_back(StageRow(kNames[stage], speeds.stages[stage], before, speeds));
    before = speeds.stages[stage].seconds;
  }
  rows.push_back(StageRow("memory copy", speeds.copy, 0, speeds));
  return AlignColumns(rows, "lrrrrr") +
         FormatNumber("%.1f million weights to ", static_cast<double>(speeds.weights) / 1e6) +
         DTypeName(speeds.dtype) + ", core at " + FormatNumber("%.2f GHz", speeds.hertz / 1e9) +
         ", " + std::to_string(kRounds) + " alternating rounds\n";
}

}  // namespace nwc
