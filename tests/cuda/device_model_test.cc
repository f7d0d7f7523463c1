// Device loads of sets of shards, over a cache, with decoded hashes, and what their memory is
// bounded by.
#include <algorithm>
#include <filesystem>
#include <set>

#include "cuda/device_plan.h"
#include "tests/cuda/device_load_support.h"
#include "tests/cuda/host_device.h"
#include "tests/loader/container_builder.h"
#include "tests/loader/http_test_server.h"
#include "tests/support/golden_files.h"

namespace nwc {
namespace {

constexpr size_t kSmallStaging = 64 << 10;

std::vector<uint8_t> FileBytes(const std::string& path) {
  auto loader = Loader::Open(path, {});
  EXPECT_TRUE(loader.ok());
  AlignedBuffer buffer;
  const uint64_t size = (*loader)->superblock().file_size;
  EXPECT_TRUE((*loader)->ReadRange(0, size, &buffer).ok());
  return {buffer.data(), buffer.data() + size};
}

// Three shards in memory with a tensor of each profile.
std::unique_ptr<ModelLoader> MakeSet() {
  std::vector<std::unique_ptr<Loader>> shards;
  for (int s = 0; s < 3; ++s) {
    ContainerBuilder builder;
    const std::string name = "t" + std::to_string(s);
    builder.AddRaw(name + ".raw", DType::kF32, {96, 64, 32, 64});
    builder.AddExact(name + ".exact", DType::kBF16, {128, 64, 64, 64});
    builder.AddStream(name + ".stream", DType::kBF16, {128, 128, 64, 64});
    auto loader = Loader::OpenMemory(builder.Finish(), {});
    EXPECT_TRUE(loader.ok()) << loader.status().ToString();
    shards.push_back(std::move(*loader));
  }
  auto model = ModelLoader::Join("made", std::move(shards));
  EXPECT_TRUE(model.ok()) << model.status().ToString();
  return std::move(*model);
}

TEST(DeviceModel, AllShardsLoadWithinOneBudget) {
  const auto model = MakeSet();
  HostDevice device;
  // Back and forth between the shards: every tensor is a part of its own.
  std::vector<TensorRequest> requests;
  for (const size_t number : {6u, 0u, 3u, 7u, 1u, 4u, 8u, 2u, 5u}) requests.push_back({number});
  std::vector<std::vector<uint8_t>> tensors;
  std::vector<size_t> numbers;
  DeviceLoadStatistics statistics;
  const auto loader = DeviceLoader::Create(&device, model.get(), {.staging_bytes = kSmallStaging});
  ASSERT_TRUE(loader.ok());
  const auto keep = [&](const DeviceTensor& tensor) -> Status {
    numbers.push_back(tensor.number);
    return ToHost(&device, tensor, &tensors.emplace_back());
  };
  const Status status = (*loader)->Stream(requests, keep, &statistics);
  ASSERT_TRUE(status.ok()) << status.ToString();
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(numbers[i], requests[i].number);
    EXPECT_EQ(tensors[i], Expected(*model, requests[i]));
  }
  EXPECT_LE(device.peak_pinned_bytes(), kSmallStaging);
  EXPECT_GT(statistics.peak_batches, 1u);
}

TEST(DeviceModel, ATensorAskedForTwiceIsAnErrorBeforeAnythingIsRead) {
  const auto model = MakeSet();
  HostDevice device;
  DeviceLoadStatistics statistics;
  const Status status = LoadOnDevice(&device, *model, {}, {{0}, {3}, {0}}, nullptr, &statistics);
  EXPECT_EQ(status.code(), ErrorCode::kUsage);
  EXPECT_EQ(statistics.bytes_read, 0u);
  EXPECT_EQ(LoadOnDevice(&device, *model, {}, {{9}}).code(), ErrorCode::kUsage);
}

TEST(DeviceModel, WhatACacheHasIsNotFetchedAgain) {
  std::string folder = testing::TempDir() + "nwc_device_cache_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  HttpTestServer server(FileBytes(GoldenPath("valid", "neural_thin.nwc")));
  LoadOptions options;
  options.remote.cache_folder = folder;
  size_t to_open = 0;
  for (const bool cached : {false, true}) {
    const size_t before = server.request_count();
    auto model = ModelLoader::Open(server.url(), options);
    ASSERT_TRUE(model.ok()) << model.status().ToString();
    if (!cached) to_open = server.request_count() - before;
    HostDevice device;
    std::vector<std::vector<uint8_t>> tensors;
    const auto requests = Everything(**model);
    ASSERT_TRUE(LoadOnDevice(&device, **model, {}, requests, &tensors).ok());
    if (cached) {
      EXPECT_EQ(server.request_count() - before, to_open);
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(tensors[i], Expected(**model, requests[i]));
    }
  }
  std::filesystem::remove_all(folder);
}

TEST(DeviceModel, DecodedHashesAreCheckedWhenAskedFor) {
  for (const auto& path : GoldenContainers("valid")) {
    HostDevice device;
    const auto model = OpenModelAt(path);
    for (const size_t staging : {kSmallStaging, size_t{1} << 20}) {
      DeviceLoadOptions options{.staging_bytes = staging};
      options.verify_decoded = true;
      const Status status = LoadOnDevice(&device, *model, options, Everything(*model));
      EXPECT_TRUE(status.ok()) << status.ToString();
    }
    EXPECT_LE(device.peak_pinned_bytes(), 1u << 20);
  }
  for (const char* name : {"R29_exact.nwc", "R29_nwc.nwc", "R29_raw.nwc", "R29_stream.nwc"}) {
    HostDevice device;
    const auto model = OpenModelAt(GoldenPath("invalid", name));
    DeviceLoadOptions options;
    EXPECT_TRUE(LoadOnDevice(&device, *model, options, Everything(*model)).ok());
    options.verify_decoded = true;
    const Status status = LoadOnDevice(&device, *model, options, Everything(*model));
    EXPECT_EQ(status.rule(), 29) << status.ToString();
    EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
    EXPECT_EQ(device.objects(), 0u);
  }
}

TEST(DeviceModel, SlicesHaveNoDecodedHash) {
  HostDevice device;
  const auto model = OpenModelAt(GoldenPath("invalid", "R29_stream.nwc"));
  DeviceLoadOptions options;
  options.verify_decoded = true;
  std::vector<TensorRequest> requests = Everything(*model);
  for (TensorRequest& request : requests) request.slice.row_end = 1;
  EXPECT_TRUE(LoadOnDevice(&device, *model, options, requests).ok());
}

// What a load has on the device besides tensors, codecs and side information.
size_t StagingOnDevice(const ModelLoader& model, size_t staging_bytes, Status* status) {
  HostDevice device;
  std::vector<std::vector<uint8_t>> memory;  // the tensors': not the device's own
  DeviceLoadOptions options{.staging_bytes = staging_bytes};
  options.allocate = [&](const TensorInfo&, const TensorSlice&,
                         size_t size_bytes) -> Result<DeviceAddress> {
    return DeviceAddress{memory.emplace_back(size_bytes + 16).data()};
  };
  const auto loader = DeviceLoader::Create(&device, &model, options);
  EXPECT_TRUE(loader.ok());
  *status = (*loader)->Stream(Everything(model), [](const DeviceTensor&) { return Status(); });
  if (!status->ok()) return 0;
  // The codecs are still there.
  size_t side_bytes = 0;
  for (const TensorRequest& request : Everything(model)) {
    const TensorInfo& info = model.tensor(request.number);
    if (info.neural) side_bytes += AlignUp(info.columns * (sizeof(float) + sizeof(uint8_t)), 16);
  }
  EXPECT_GE(device.peak_device_bytes(), side_bytes + device.device_bytes());
  return device.peak_device_bytes() - side_bytes - device.device_bytes();
}

TEST(DeviceModel, LatentsAreInTheBudget) {
  const auto model = OpenModelAt(GoldenPath("valid", "neural_published_chunk.nwc"));
  Status status;
  (void)StagingOnDevice(*model, 2000, &status);
  ASSERT_EQ(status.code(), ErrorCode::kUsage) << status.ToString();
  const std::string phrase = "staging_bytes of at least ";
  const size_t at = status.message().find(phrase);
  ASSERT_NE(at, std::string::npos) << status.message();
  const size_t least = std::stoul(status.message().substr(at + phrase.size()));
  EXPECT_GT(least, 3000u);  // the latents of one tensor alone
  for (const size_t staging : {least, least + 3000, size_t{64} << 20}) {
    EXPECT_LE(StagingOnDevice(*model, staging, &status), staging);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  (void)StagingOnDevice(*model, least - 1, &status);
  EXPECT_EQ(status.code(), ErrorCode::kUsage);
}

TEST(DeviceModel, ReadsAreSmallEnoughForSeveralToHaveRoom) {
  for (const auto& path : GoldenContainers("valid")) {
    auto loader = Loader::Open(path, {});
    ASSERT_TRUE(loader.ok());
    DevicePart part{loader->get(), {}, 4095, false};
    size_t pieces = 0;
    for (const size_t number : (*loader)->All()) {
      const TensorInfo& info = (*loader)->index().tensors[number];
      if (!info.supported()) continue;
      part.requests.push_back({number});
      pieces += info.chunks.size() + (info.side() != nullptr ? 1 : 0);
    }
    const auto plan = PlanDevice({&part, 1}, {kSmallStaging, kSmallStaging, true});
    ASSERT_TRUE(plan.ok()) << plan.status().ToString();
    size_t next = 0;
    for (size_t r = 0; r < plan->fetch.reads.size(); ++r) {
      const FetchRead& read = plan->fetch.reads[r];
      ASSERT_EQ(read.piece_begin, next);
      next = read.piece_end;
      for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
        const FetchPiece& piece = plan->fetch.pieces[p];
        const TensorInfo& info =
            (*loader)->index().tensors[plan->fetch.requests[piece.tensor].number];
        const uint64_t offset = piece.chunk == FetchPiece::kSideInfo
                                    ? info.side()->offset
                                    : info.chunks[piece.chunk].offset;
        EXPECT_EQ(read.offset + piece.read_offset, offset);
        EXPECT_LE(piece.read_offset + piece.size_bytes, read.size_bytes);
      }
      if (read.piece_end - read.piece_begin == 1) continue;
      EXPECT_LE(RoomBytes(read), kSmallStaging / 4);
      EXPECT_LE(plan->latent_bytes[r], kSmallStaging / 4);
    }
    EXPECT_EQ(next, pieces);
    EXPECT_LE(plan->ring_bytes + std::max(plan->latent_ring_bytes, plan->check_bytes),
              kSmallStaging);
  }
}

TEST(DeviceModel, ANetTooWideForTheDeviceIsUnsupportedBeforeAnythingIsRead) {
  const auto model = OpenModelAt(GoldenPath("valid", "neural_published_chunk.nwc"));
  HostDevice device;
  device.LimitSharedBytes(1 << 10);  // the net takes some
  DeviceLoadStatistics statistics;
  const Status status = LoadOnDevice(&device, *model, {}, Everything(*model), nullptr, &statistics);
  EXPECT_EQ(status.code(), ErrorCode::kUnsupported);
  EXPECT_NE(status.message().find("a net of width "), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("load it on the CPU"), std::string::npos) << status.message();
  EXPECT_EQ(statistics.bytes_read, 0u);
  EXPECT_EQ(device.calls(), 0u);
}

}  // namespace
}  // namespace nwc
