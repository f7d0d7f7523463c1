// DeviceLoader on the golden files: on a device in the host's memory whose streams run as late and
// in as odd an order as events allow, and on the GPU where there is one.
#include "cuda/device_loader.h"

#include <algorithm>
#include <map>

#include "tests/cuda/device_load_support.h"
#include "tests/cuda/device_test.h"
#include "tests/support/golden_files.h"

namespace nwc {
namespace {

constexpr size_t kSmallStaging = 64 << 10;  // a few reads of a golden file
constexpr size_t kTinyStaging = 8 << 10;    // many, where chunks are small

std::unique_ptr<ModelLoader> Open(const std::string& name) {
  return OpenModelAt(GoldenPath("valid", name));
}

class DeviceLoaderTest : public DeviceTest {
 protected:
  void GivesTheHostsBits(const ModelLoader& model, const std::vector<TensorRequest>& requests,
                         const DeviceLoadOptions& options) {
    std::vector<std::vector<uint8_t>> tensors;
    const Status status = LoadOnDevice(runtime(), model, options, requests, &tensors);
    ASSERT_TRUE(status.ok()) << status.ToString();
    ASSERT_EQ(tensors.size(), requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_EQ(tensors[i], Expected(model, requests[i]))
          << model.path() << " " << model.tensor(requests[i].number).name;
    }
  }
};

TEST_P(DeviceLoaderTest, EveryGoldenFileLoads) {
  for (const auto& path : GoldenContainers("valid")) {
    const auto loader = Open(path.filename());
    GivesTheHostsBits(*loader, Everything(*loader), {});
    GivesTheHostsBits(*loader, Everything(*loader), {.staging_bytes = kSmallStaging});
  }
}

TEST_P(DeviceLoaderTest, SlicesInAnyOrderLoad) {
  const auto loader = Open("many_tiles.nwc");
  std::vector<TensorRequest> requests = Everything(*loader);
  std::reverse(requests.begin(), requests.end());
  for (TensorRequest& request : requests) {
    const TensorInfo& info = loader->tensor(request.number);
    request.slice.row_begin = info.rows / 3;
    request.slice.column_end = info.columns - info.columns / 4;
  }
  GivesTheHostsBits(*loader, requests, {.staging_bytes = kSmallStaging});
}

TEST_P(DeviceLoaderTest, OneLoaderServesManyStreams) {
  const auto loader = Open("neural_thin.nwc");
  const auto device = DeviceLoader::Create(runtime(), loader.get(), {});
  ASSERT_TRUE(device.ok());
  DeviceLoadStatistics first, second;
  const auto keep = [](const DeviceTensor&) { return Status(); };
  ASSERT_TRUE((*device)->Stream(Everything(*loader), keep, &first).ok());
  ASSERT_TRUE((*device)->Stream(Everything(*loader), keep, &second).ok());
  EXPECT_LT(second.bytes_read, first.bytes_read);  // the codec was there
  EXPECT_EQ(second.bytes_decoded, first.bytes_decoded);
}

TEST_P(DeviceLoaderTest, ABrokenChunkEndsTheStreamWithItsRule) {
  for (const char* name : {"R26_words_left.nwc", "R24_last.nwc", "R28_sum.nwc", "R37_more.nwc",
                           "R20_stream.nwc", "R21_side.nwc", "R34_hash.nwc"}) {
    const auto loader = OpenModelAt(GoldenPath("invalid", name));
    const Status status = LoadOnDevice(runtime(), *loader, {}, Everything(*loader));
    EXPECT_EQ(status.rule(), std::stoi(std::string(name).substr(1, 2))) << status.ToString();
    EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
  }
}

TEST_P(DeviceLoaderTest, CallbacksErrorsAndCancellationEndIt) {
  const auto loader = Open("many_tiles.nwc");
  const auto device = DeviceLoader::Create(runtime(), loader.get(), {});
  ASSERT_TRUE(device.ok());
  const auto refuse = [](const DeviceTensor&) { return Status(ErrorCode::kUsage, "enough"); };
  EXPECT_EQ((*device)->Stream(Everything(*loader), refuse).message(), "enough");
  const std::atomic<bool> cancel = true;
  EXPECT_EQ(
      LoadOnDevice(runtime(), *loader, {}, Everything(*loader), nullptr, nullptr, &cancel).code(),
      ErrorCode::kCancelled);
}

NWC_ON_EVERY_DEVICE(DeviceLoaderTest);

// What only a device that tells can show.
class DeviceLoaderOnHost : public testing::Test {
 protected:
  void SetUp() override { loader_ = Open("many_tiles.nwc"); }
  [[nodiscard]] std::vector<TensorRequest> requests() const { return Everything(*loader_); }
  std::unique_ptr<ModelLoader> loader_;
};

TEST_F(DeviceLoaderOnHost, EveryOrderOfTheStreamsGivesTheSameBytes) {
  std::vector<std::vector<uint8_t>> expected;
  for (const TensorRequest& request : requests()) expected.push_back(Expected(*loader_, request));
  for (uint32_t seed = 0; seed < 50; ++seed) {
    HostDevice device(seed);
    std::vector<std::vector<uint8_t>> tensors;
    ASSERT_TRUE(
        LoadOnDevice(&device, *loader_, {.staging_bytes = kTinyStaging}, requests(), &tensors)
            .ok());
    ASSERT_EQ(tensors, expected) << seed;
  }
}

TEST_F(DeviceLoaderOnHost, StagingStaysInItsBudgetAndSeveralReadsAreUnderWay) {
  HostDevice device;
  DeviceLoadStatistics statistics;
  ASSERT_TRUE(LoadOnDevice(&device, *loader_, {.staging_bytes = kTinyStaging}, requests(), nullptr,
                           &statistics)
                  .ok());
  EXPECT_LE(device.peak_pinned_bytes(), kTinyStaging);
  EXPECT_LE(statistics.peak_staging_bytes, kTinyStaging);
  EXPECT_GT(statistics.batches, 3u);
  EXPECT_GT(statistics.peak_batches, 1u);
  EXPECT_EQ(device.device_bytes(), 0u);
  EXPECT_EQ(device.objects(), 0u);
}

TEST_F(DeviceLoaderOnHost, TooLittleStagingSaysHowMuchItNeeds) {
  HostDevice device;
  const Status status = LoadOnDevice(&device, *loader_, {.staging_bytes = 200}, requests());
  EXPECT_EQ(status.code(), ErrorCode::kUsage);
  EXPECT_NE(status.message().find("staging_bytes of at least"), std::string::npos);
}

// Whatever call fails, the stream ends with its error and everything is given back.
TEST_F(DeviceLoaderOnHost, EveryFailureOfTheDeviceIsAStatus) {
  size_t calls = 0;
  {
    HostDevice device;
    ASSERT_TRUE(LoadOnDevice(&device, *loader_, {.staging_bytes = kTinyStaging}, requests()).ok());
    calls = device.calls();
  }
  for (size_t i = 0; i < calls; ++i) {
    HostDevice device;
    device.FailCall(i);
    const Status status =
        LoadOnDevice(&device, *loader_, {.staging_bytes = kTinyStaging}, requests());
    // The last calls only end what is done.
    if (status.ok()) {
      EXPECT_GT(i + 40, calls);  // how often the device is asked whether it is done varies
      continue;
    }
    ASSERT_EQ(status.code(), ErrorCode::kIo) << status.ToString();
    ASSERT_EQ(device.device_bytes(), 0u) << i;
    ASSERT_EQ(device.objects(), 0u) << i;
  }
}

// The caller's memory is still in use by the caller's stream when it is given.
TEST_F(DeviceLoaderOnHost, MemoryOfTheCallersIsWrittenAfterItsStream) {
  HostDevice device(7);
  const auto stream = OwnedStream::Create(&device);
  ASSERT_TRUE(stream.ok());
  std::map<std::string, DeviceBuffer> memory;
  DeviceLoadOptions options{.staging_bytes = kTinyStaging};
  options.stream = stream->get();
  options.allocate = [&](const TensorInfo& info, const TensorSlice&,
                         size_t size_bytes) -> Result<DeviceAddress> {
    NWC_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(&device, size_bytes));
    const std::vector<uint8_t> old(size_bytes, 0xEE);
    NWC_RETURN_IF_ERROR(
        device.CopyToDevice(buffer.address(), old.data(), old.size(), stream->get()));
    const DeviceAddress address = buffer.address();
    memory[info.name] = std::move(buffer);
    return address;
  };
  std::vector<std::vector<uint8_t>> tensors;
  ASSERT_TRUE(LoadOnDevice(&device, *loader_, options, requests(), &tensors).ok());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(tensors[i], Expected(*loader_, requests()[i]));
  }
}

}  // namespace
}  // namespace nwc
