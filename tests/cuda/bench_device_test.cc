// The measurement and the reports of nwc bench --device, on a device in the host's memory.
#include "tools/bench_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cuda/host_device.h"

namespace nwc {
namespace {

using Json = nlohmann::json;

Speed MakeSpeed(double seconds, uint64_t stored, uint64_t decoded) {
  Speed speed;
  speed.seconds = seconds;
  speed.fastest_seconds = seconds / 2;
  speed.stored_bytes = stored;
  speed.decoded_bytes = decoded;
  return speed;
}

DeviceSpeeds MadeUp() {
  constexpr uint64_t kGiga = 1'000'000'000;
  DeviceSpeeds speeds;
  speeds.device = "GPU 0 (made up)";
  speeds.tensors = 12;
  speeds.io = "pread: asked for";
  speeds.read = MakeSpeed(0.5, kGiga, 0);
  speeds.hash = MakeSpeed(0.1, kGiga, 0);
  speeds.copy = MakeSpeed(0.05, kGiga, 0);
  speeds.ceiling = MakeSpeed(0.04, kGiga, 0);
  speeds.decode = {{Profile::kStream, false, MakeSpeed(0.02, kGiga, 4 * kGiga)},
                   {Profile::kNwc, true, MakeSpeed(0.2, kGiga, 4 * kGiga)}};
  speeds.load = MakeSpeed(0.8, 2 * kGiga, 8 * kGiga);
  return speeds;
}

// The line that begins with `what`, with one space between its cells.
std::string LineOf(const std::string& text, const std::string& what) {
  const size_t begin = ("\n" + text).find("\n" + what);
  if (begin == std::string::npos) return "";
  std::string line = text.substr(begin, text.find('\n', begin) - begin);
  line.erase(
      std::unique(line.begin(), line.end(), [](char a, char b) { return a == ' ' && b == ' '; }),
      line.end());
  return line;
}

TEST(BenchDevice, TheTableHasEveryStageBesideTheCeiling) {
  const std::string text = FormatDeviceText(MadeUp(), 5);
  EXPECT_EQ(LineOf(text, "read"), "read 0.500000 0.250000 2.00 8 %");
  EXPECT_EQ(LineOf(text, "hash"), "hash, one core 0.100000 0.050000 10.00 40 %");
  EXPECT_EQ(LineOf(text, "copy to"), "copy to the device 0.050000 0.025000 20.00 80 %");
  EXPECT_EQ(LineOf(text, "copy ceiling"),
            "copy ceiling, 64 MiB at once 0.040000 0.020000 25.00 100 %");
  EXPECT_EQ(LineOf(text, "decode stream"), "decode stream 0.020000 0.010000 50.00 200.00 200 %");
  EXPECT_EQ(LineOf(text, "decode nwc"),
            "decode nwc, tensor cores 0.200000 0.100000 5.00 20.00 20 %");
  EXPECT_EQ(LineOf(text, "file"), "file to tensors 0.800000 0.400000 2.50 10.00 10 %");
  EXPECT_NE(text.find("12 tensors decode to the file's hashes on GPU 0 (made up); medians of 5"),
            std::string::npos);
}

TEST(BenchDevice, TheJsonHasTheSameFigures) {
  const Json json = Json::parse(FormatDeviceJson(MadeUp(), "m.nwc", 5));
  EXPECT_EQ(json["file"], "m.nwc");
  EXPECT_EQ(json["device"], "GPU 0 (made up)");
  EXPECT_DOUBLE_EQ(json["copy_ceiling_gb_per_second"], 25);
  EXPECT_DOUBLE_EQ(json["read"]["stored_gb_per_second"], 2);
  EXPECT_FALSE(json["read"].contains("decoded_bytes"));
  EXPECT_DOUBLE_EQ(json["decode"]["stream"]["decoded_gb_per_second"], 200);
  EXPECT_DOUBLE_EQ(json["load"]["share_of_copy_ceiling"], 0.1);
}

TEST(BenchDevice, ADeviceIsCudaAndMayHaveANumber) {
  EXPECT_EQ(*ParseCudaDevice("cuda"), 0);
  EXPECT_EQ(*ParseCudaDevice("cuda:3"), 3);
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda1"}) {
    EXPECT_EQ(ParseCudaDevice(text).status().code(), ErrorCode::kUsage) << text;
  }
}

TEST(BenchDevice, EveryStageOfAModelIsMeasured) {
  const auto model = ModelLoader::Open(GOLDEN_FOLDER "/valid/neural_thin.nwc", {});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  HostDevice device;
  uint64_t steps = 0;
  const auto begin = [&](const char*, uint64_t step) -> Status {
    EXPECT_EQ(step, ++steps);
    return {};
  };
  const auto speeds = MeasureDevice(&device, **model, {1, 0}, begin);
  ASSERT_TRUE(speeds.ok()) << speeds.status().ToString();
  EXPECT_EQ(steps + 1, kDeviceSteps);
  EXPECT_EQ(speeds->tensors, (*model)->tensor_count());
  for (const Speed* speed :
       {&speeds->read, &speeds->hash, &speeds->copy, &speeds->ceiling, &speeds->load}) {
    EXPECT_GT(speed->seconds, 0);
    EXPECT_GT(speed->stored_bytes, 0u);
  }
  ASSERT_EQ(speeds->decode.size(), 3u);  // nwc in both arithmetics, raw
  uint64_t decoded = 0;
  for (const DeviceDecodeSpeed& decode : speeds->decode) {
    EXPECT_GT(decode.speed.seconds, 0);
    if (!decode.tensor_cores) decoded += decode.speed.decoded_bytes;
  }
  EXPECT_EQ(speeds->load.decoded_bytes, decoded);
  EXPECT_EQ(device.device_bytes(), 0u);
  EXPECT_EQ(device.objects(), 0u);
}

// Tiny tensors would be repeated millions of times to fill a device.
TEST(BenchDevice, ASmallSampleIsRepeatedAFewTimes) {
  const auto model = ModelLoader::Open(GOLDEN_FOLDER "/valid/neural_thin.nwc", {});
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  HostDevice device;
  const auto begin = [](const char*, uint64_t) { return Status(); };
  const auto once = MeasureDevice(&device, **model, {1, 0}, begin);
  const auto often = MeasureDevice(&device, **model, {1, 1 << 30}, begin);
  ASSERT_TRUE(once.ok() && often.ok());
  ASSERT_EQ(often->decode.back().profile, Profile::kRaw);
  const uint64_t sample = once->decode.back().speed.decoded_bytes;
  EXPECT_GT(often->decode.back().speed.decoded_bytes, sample);
  EXPECT_LE(often->decode.back().speed.decoded_bytes, 64 * sample);
}

TEST(BenchDevice, WrongDecodedBytesEndIt) {
  const auto model = ModelLoader::Open(GOLDEN_FOLDER "/invalid/R29_stream.nwc", {});
  ASSERT_TRUE(model.ok());
  HostDevice device;
  const auto begin = [](const char*, uint64_t) { return Status(); };
  EXPECT_EQ(MeasureDevice(&device, **model, {1, 0}, begin).status().rule(), 29);
}

}  // namespace
}  // namespace nwc
