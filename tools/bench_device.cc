#include "tools/bench_device.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "tools/open_container.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kCuda = "cuda";

double GbPerSecond(uint64_t bytes, const Speed& speed) {
  return speed.seconds > 0 ? static_cast<double>(bytes) / speed.seconds / 1e9 : 0;
}

std::string NameOf(const DeviceDecodeSpeed& decode) {
  return std::string(ProfileName(decode.profile)) + (decode.tensor_cores ? ", tensor cores" : "");
}

// Stored bytes, which are what the bus carries, beside what it can carry.
double ShareOfCeiling(const Speed& speed, const DeviceSpeeds& speeds) {
  const double ceiling = GbPerSecond(speeds.ceiling.stored_bytes, speeds.ceiling);
  return ceiling > 0 ? GbPerSecond(speed.stored_bytes, speed) / ceiling : 0;
}

Row StageRow(const std::string& what, const Speed& speed, const DeviceSpeeds& speeds) {
  const auto rate = [&](uint64_t bytes) {
    return bytes == 0 ? "" : FormatNumber("%.2f", GbPerSecond(bytes, speed));
  };
  return {what,
          FormatNumber("%.6f", speed.seconds),
          FormatNumber("%.6f", speed.fastest_seconds),
          rate(speed.stored_bytes),
          rate(speed.decoded_bytes),
          FormatNumber("%.0f %%", 100 * ShareOfCeiling(speed, speeds))};
}

Json StageJson(const Speed& speed, const DeviceSpeeds& speeds) {
  Json json;
  json["seconds"] = speed.seconds;
  json["fastest_seconds"] = speed.fastest_seconds;
  json["stored_bytes"] = speed.stored_bytes;
  json["stored_gb_per_second"] = GbPerSecond(speed.stored_bytes, speed);
  if (speed.decoded_bytes > 0) {
    json["decoded_bytes"] = speed.decoded_bytes;
    json["decoded_gb_per_second"] = GbPerSecond(speed.decoded_bytes, speed);
  }
  json["share_of_copy_ceiling"] = ShareOfCeiling(speed, speeds);
  return json;
}

}  // namespace

Result<int> ParseCudaDevice(const std::string& text) {
  const Status wrong(ErrorCode::kUsage, "--device " + text + ": expected cuda or cuda:N");
  if (text == kCuda) return 0;
  if (!text.starts_with(std::string(kCuda) + ":")) return wrong;
  int number = 0;
  const char* const begin = text.data() + kCuda.size() + 1;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(begin, end, number);
  if (error != std::errc() || stopped != end || number < 0) return wrong;
  return number;
}

std::string FormatDeviceText(const DeviceSpeeds& speeds, int runs) {
  std::vector<Row> rows = {
      {"", "seconds", "fastest", "stored GB/s", "decoded GB/s", "of the copy ceiling"}};
  rows.push_back(StageRow("read", speeds.read, speeds));
  rows.push_back(StageRow("hash, one core", speeds.hash, speeds));
  rows.push_back(StageRow("copy to the device", speeds.copy, speeds));
  rows.push_back(StageRow("copy ceiling, 64 MiB at once", speeds.ceiling, speeds));
  for (const DeviceDecodeSpeed& decode : speeds.decode) {
    rows.push_back(StageRow("decode " + NameOf(decode), decode.speed, speeds));
  }
  rows.push_back(StageRow("file to tensors", speeds.load, speeds));
  return AlignColumns(rows, "lrrrrr") + std::to_string(speeds.tensors) +
         " tensors decode to the file's hashes on " + speeds.device + "; medians of " +
         std::to_string(runs) + " runs; " + speeds.io + "\n";
}

std::string FormatDeviceJson(const DeviceSpeeds& speeds, const std::string& file, int runs) {
  Json json;
  json["file"] = file;
  json["device"] = speeds.device;
  json["runs"] = runs;
  json["io"] = speeds.io;
  json["tensors"] = speeds.tensors;
  json["copy_ceiling_gb_per_second"] = GbPerSecond(speeds.ceiling.stored_bytes, speeds.ceiling);
  json["read"] = StageJson(speeds.read, speeds);
  json["hash_one_core"] = StageJson(speeds.hash, speeds);
  json["copy"] = StageJson(speeds.copy, speeds);
  json["decode"] = Json::object();
  for (const DeviceDecodeSpeed& decode : speeds.decode) {
    json["decode"][NameOf(decode)] = StageJson(decode.speed, speeds);
  }
  json["load"] = StageJson(speeds.load, speeds);
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status BenchDevice(const BenchArguments& arguments) {
  NWC_ASSIGN_OR_RETURN(const int number, ParseCudaDevice(arguments.device));
  NWC_ASSIGN_OR_RETURN(const auto device, OpenCudaDevice(number));
  NWC_ASSIGN_OR_RETURN(const auto model, OpenModel(arguments.file, arguments.load));
  Progress progress(arguments.quiet);
  const auto begin = [&](const char* what, uint64_t step) -> Status {
    progress.Update("measuring", what, step, kDeviceSteps);
    return StopRequested() ? Status(ErrorCode::kCancelled, "stopped") : Status();
  };
  DeviceBenchOptions options;
  options.runs = arguments.runs;
  NWC_ASSIGN_OR_RETURN(const DeviceSpeeds speeds,
                       MeasureDevice(device.get(), *model, options, begin));
  progress.Update("measuring", "done", kDeviceSteps, kDeviceSteps);
  progress.EndLine();
  return PrintOut(arguments.json ? FormatDeviceJson(speeds, model->path(), arguments.runs)
                                 : FormatDeviceText(speeds, arguments.runs));
}

}  // namespace nwc
