// Loads by several ranks of which one reads: processes, each with a device in the host's memory,
// that are connected by sockets alone or by a library in the place of NCCL's, too.
#include <dlfcn.h>
#include <signal.h>

#include <chrono>

#include "cuda/nccl_broadcast.h"
#include "loader/tensor_parallel.h"
#include "tests/cuda/device_load_support.h"
#include "tests/cuda/fake_nccl.h"
#include "tests/cuda/host_device.h"
#include "tests/cuda/rank_processes.h"
#include "tests/loader/container_builder.h"
#include "tests/support/golden_files.h"

namespace nwc {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr Milliseconds kLong(20'000);
constexpr Milliseconds kShort(1000);
constexpr size_t kSmallStaging = 64 << 10;

enum class Way : uint8_t { kSockets, kNccl };

std::string WayName(const testing::TestParamInfo<Way>& info) {
  return info.param == Way::kSockets ? "Sockets" : "Nccl";
}

HostDevice* nccl_device = nullptr;  // of this process

// NCCL's library knows the streams of the device from here.
Result<std::unique_ptr<Broadcaster>> OverFakeNccl(std::unique_ptr<Broadcaster> host,
                                                  HostDevice* device) {
  nccl_device = device;
  void* const library = dlopen(FAKE_NCCL, RTLD_NOW);
  if (library == nullptr) return Status(ErrorCode::kInternal, dlerror());
  const auto set = reinterpret_cast<void (*)(FakeNcclEnqueue)>(dlsym(library, kFakeNcclSetStreams));
  set([](void* stream, bool (*work)(void*), void* argument) {
    nccl_device->EnqueueWork(stream, [=] { return work(argument); });
  });
  NWC_ASSIGN_OR_RETURN(auto ranks, NcclBroadcaster::Create(std::move(host), device, FAKE_NCCL));
  return std::unique_ptr<Broadcaster>(std::move(ranks));
}

// One rank's load.
struct RankLoad {
  HostDevice device;
  std::unique_ptr<Broadcaster> ranks;
  DeviceLoadOptions options{.staging_bytes = kSmallStaging};
  DeviceLoadStatistics statistics;
  std::function<Status()> after_tensor = [] { return Status(); };
  bool runs_by_itself = true;  // the device

  Status Join(Way way, std::unique_ptr<SocketBroadcaster> sockets) {
    ranks = std::move(sockets);
    if (way == Way::kNccl) {
      if (runs_by_itself) device.RunByItself();
      NWC_ASSIGN_OR_RETURN(ranks, OverFakeNccl(std::move(ranks), &device));
    }
    options.ranks = ranks.get();
    return {};
  }

  Status Run(const ModelLoader& model, const std::vector<TensorRequest>& requests,
             std::vector<Hash128>* hashes) {
    NWC_ASSIGN_OR_RETURN(const auto loader, DeviceLoader::Create(&device, &model, options));
    const auto ready = [&](const DeviceTensor& tensor) -> Status {
      std::vector<uint8_t> bytes;
      NWC_RETURN_IF_ERROR(ToHost(&device, tensor, &bytes));
      hashes->push_back(Hash128Of(bytes));
      return after_tensor();
    };
    return loader->Stream(requests, ready, &statistics);
  }
};

std::vector<Hash128> ExpectedHashes(const ModelLoader& model,
                                    const std::vector<TensorRequest>& requests) {
  std::vector<Hash128> hashes;
  for (const TensorRequest& request : requests) {
    hashes.push_back(Hash128Of(Expected(model, request)));
  }
  return hashes;
}

class BroadcastLoad : public testing::TestWithParam<Way> {
 protected:
  // Every rank loads the file whole; `prepare` changes what one does.
  static std::vector<RankOutcome> LoadFile(
      size_t world, const std::string& path,
      const std::function<void(RankLoad*)>& prepare = [](RankLoad*) {},
      Milliseconds timeout = kLong) {
    return RunRanks(world, timeout, [&](auto sockets, auto* hashes) -> Status {
      NWC_ASSIGN_OR_RETURN(const auto model, ModelLoader::Open(path, {}));
      RankLoad load;
      NWC_RETURN_IF_ERROR(load.Join(GetParam(), std::move(sockets)));
      prepare(&load);
      return load.Run(*model, Everything(*model), hashes);
    });
  }
};

TEST_P(BroadcastLoad, EveryGoldenFileIsTheHosts) {
  const auto files = GoldenContainers("valid");
  const auto outcomes = RunRanks(2, kLong, [&](auto sockets, auto* hashes) -> Status {
    RankLoad load;
    NWC_RETURN_IF_ERROR(load.Join(GetParam(), std::move(sockets)));
    load.options.verify_decoded = true;
    for (const auto& path : files) {
      NWC_ASSIGN_OR_RETURN(const auto model, ModelLoader::Open(path, {}));
      NWC_RETURN_IF_ERROR(load.Run(*model, Everything(*model), hashes));
    }
    return {};
  });
  std::vector<Hash128> expected;
  for (const auto& path : files) {
    const auto model = OpenModelAt(path);
    const auto hashes = ExpectedHashes(*model, Everything(*model));
    expected.insert(expected.end(), hashes.begin(), hashes.end());
  }
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code, ErrorCode::kOk) << outcome.message;
    EXPECT_EQ(outcome.hashes, expected);
  }
}

// A model of two shards with what a layer has.
std::unique_ptr<ModelLoader> MakeLayers() {
  std::vector<std::unique_ptr<Loader>> shards;
  for (int s = 0; s < 2; ++s) {
    ContainerBuilder builder;
    const std::string layer = "model.layers." + std::to_string(s) + ".";
    if (s == 0) builder.AddExact("model.embed_tokens.weight", DType::kBF16, {192, 96, 64, 96});
    builder.AddExact(layer + "input_layernorm.weight", DType::kF32, {96, 1, 96, 1});
    builder.AddStream(layer + "self_attn.q_proj.weight", DType::kBF16, {192, 192, 64, 64});
    builder.AddStream(layer + "self_attn.o_proj.weight", DType::kF16, {192, 192, 48, 64});
    builder.AddRaw(layer + "mlp.down_proj.weight", DType::kF32, {96, 96, 32, 96});
    auto loader = Loader::OpenMemory(builder.Finish(), {});
    EXPECT_TRUE(loader.ok()) << loader.status().ToString();
    shards.push_back(std::move(*loader));
  }
  auto model = ModelLoader::Join("layers", std::move(shards));
  EXPECT_TRUE(model.ok()) << model.status().ToString();
  return std::move(*model);
}

std::vector<TensorRequest> ShareOf(const ModelLoader& model, size_t rank, size_t world) {
  std::vector<TensorRequest> requests = Everything(model);
  for (TensorRequest& request : requests) {
    const TensorInfo& info = model.tensor(request.number);
    const auto slice = SliceOf(info, {rank, world}, *ParallelKindOf(info.name));
    EXPECT_TRUE(slice.ok()) << slice.status().ToString();
    request.slice = *slice;
  }
  return requests;
}

TEST_P(BroadcastLoad, ThreeRanksHaveTheirSharesOfTheTensors) {
  const auto model = MakeLayers();
  const auto outcomes = RunRanks(3, kLong, [&](auto sockets, auto* hashes) -> Status {
    RankLoad load;
    const size_t rank = sockets->rank();
    NWC_RETURN_IF_ERROR(load.Join(GetParam(), std::move(sockets)));
    NWC_RETURN_IF_ERROR(load.Run(*model, ShareOf(*model, rank, 3), hashes));
    const bool read = load.statistics.bytes_read > 0;
    return read == (rank == 0) ? Status() : Status(ErrorCode::kInternal, "another rank reads");
  });
  for (size_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(outcomes[rank].code, ErrorCode::kOk) << outcomes[rank].message;
    EXPECT_EQ(outcomes[rank].hashes, ExpectedHashes(*model, ShareOf(*model, rank, 3)));
  }
}

TEST_P(BroadcastLoad, ACorruptChunkIsEveryRanksError) {
  for (const char* name : {"R20_stream.nwc", "R20_nwc.nwc", "R21_side.nwc", "R26_words_left.nwc",
                           "R28_sum.nwc", "R37_more.nwc"}) {
    const auto outcomes = LoadFile(2, GoldenPath("invalid", name));
    for (const RankOutcome& outcome : outcomes) {
      EXPECT_EQ(outcome.code, ErrorCode::kCorrupt) << outcome.message;
      EXPECT_EQ(outcome.rule, std::stoi(std::string(name).substr(1, 2))) << outcome.message;
      EXPECT_NE(outcome.message.find("tensor '"), std::string::npos) << outcome.message;
      EXPECT_NE(outcome.message.find(name), std::string::npos) << outcome.message;
    }
    EXPECT_EQ(outcomes[0].message, outcomes[1].message);
  }
}

TEST_P(BroadcastLoad, ARankWithoutMemoryEndsAll) {
  for (size_t poor = 0; poor < 2; ++poor) {
    const auto outcomes = LoadFile(2, GoldenPath("valid", "many_tiles.nwc"), [&](RankLoad* load) {
      if (load->ranks->rank() == poor) load->device.LimitDeviceBytes(kSmallStaging + 20'000);
    });
    for (const RankOutcome& outcome : outcomes) {
      EXPECT_EQ(outcome.code, ErrorCode::kOutOfMemory) << outcome.message;
      EXPECT_EQ(outcome.message.substr(0, 7), "rank " + std::to_string(poor) + ":");
    }
  }
}

TEST_P(BroadcastLoad, ADeadRankEndsAllInTime) {
  for (size_t dead = 0; dead < 3; ++dead) {
    const auto begin = Clock::now();
    const auto outcomes = LoadFile(
        3, GoldenPath("valid", "many_tiles.nwc"),
        [&](RankLoad* load) {
          load->options.staging_bytes = 8 << 10;  // many reads are still to come
          if (load->ranks->rank() == dead) {
            load->after_tensor = [] {
              raise(SIGKILL);
              return Status();
            };
          }
        },
        kShort);
    EXPECT_LT(Clock::now() - begin, 10 * kShort);
    for (size_t rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(outcomes[rank].ended, rank != dead);
      if (rank == dead) continue;
      EXPECT_EQ(outcomes[rank].code, ErrorCode::kIo) << outcomes[rank].message;
      EXPECT_NE(outcomes[rank].message.find("rank "), std::string::npos) << outcomes[rank].message;
    }
  }
}

// Rank 0 dies before its device has begun what rank 1 waits for: in memory's being asked for, while
// its streams stand still.
TEST(NcclLoad, ABroadcastThatNeverEndsIsGivenUp) {
  const auto begin = Clock::now();
  const auto outcomes = RunRanks(2, kShort, [&](auto sockets, auto* hashes) -> Status {
    NWC_ASSIGN_OR_RETURN(const auto model,
                         ModelLoader::Open(GoldenPath("valid", "many_tiles.nwc"), {}));
    RankLoad load;
    load.options.staging_bytes = 1 << 20;  // one read: nothing else is waited for
    load.runs_by_itself = sockets->rank() != 0;
    NWC_RETURN_IF_ERROR(load.Join(Way::kNccl, std::move(sockets)));
    if (!load.runs_by_itself) {
      load.options.allocate = [](const TensorInfo&, const TensorSlice&,
                                 size_t) -> Result<DeviceAddress> {
        raise(SIGKILL);
        return DeviceAddress();
      };
    }
    return load.Run(*model, Everything(*model), hashes);
  });
  EXPECT_LT(Clock::now() - begin, 10 * kShort);
  EXPECT_TRUE(outcomes[1].ended);
  EXPECT_EQ(outcomes[1].code, ErrorCode::kIo);
  EXPECT_NE(outcomes[1].message.find("a broadcast did not end"), std::string::npos)
      << outcomes[1].message;
}

// As freeing memory waits on a GPU: for all that is under way, without an end.
TEST(NcclLoad, WhoIsHeldUpByTheDeviceGoesOnAtLast) {
  const auto outcomes = RunRanks(2, kShort, [&](auto sockets, auto*) -> Status {
    HostDevice device;
    device.RunByItself();
    NWC_ASSIGN_OR_RETURN(const auto ranks, OverFakeNccl(std::move(sockets), &device));
    NWC_RETURN_IF_ERROR(ranks->Agree({}));
    if (ranks->rank() == 0) raise(SIGKILL);
    NWC_ASSIGN_OR_RETURN(const DeviceBuffer memory, DeviceBuffer::Allocate(&device, 100));
    NWC_ASSIGN_OR_RETURN(const OwnedEvent done, OwnedEvent::Create(&device));
    NWC_RETURN_IF_ERROR(ranks->BroadcastOnDevice(memory.address(), 100, 0, nullptr));
    NWC_RETURN_IF_ERROR(device.Record(done.get(), nullptr));
    for (bool is_done = false; !is_done;) {
      NWC_ASSIGN_OR_RETURN(is_done, device.IsDone(done.get()));
    }
    EXPECT_FALSE(ranks->BroadcastOnDevice(memory.address(), 100, 0, nullptr).ok());
    return ranks->Agree({});
  });
  EXPECT_TRUE(outcomes[1].ended);
  EXPECT_EQ(outcomes[1].code, ErrorCode::kIo);
  EXPECT_NE(outcomes[1].message.find("a broadcast did not end in time"), std::string::npos)
      << outcomes[1].message;
}

TEST_P(BroadcastLoad, ACallbacksErrorEndsAll) {
  const auto refused = LoadFile(2, GoldenPath("valid", "many_tiles.nwc"), [](RankLoad* load) {
    if (load->ranks->rank() == 1) {
      load->after_tensor = [] { return Status(ErrorCode::kUsage, "enough"); };
    }
  });
  for (const RankOutcome& outcome : refused) {
    EXPECT_EQ(outcome.code, ErrorCode::kUsage);
    EXPECT_EQ(outcome.message, "rank 1: enough");
  }
}

TEST_P(BroadcastLoad, CancellationOfOneRankEndsAll) {
  const auto outcomes = RunRanks(2, kLong, [&](auto sockets, auto*) -> Status {
    NWC_ASSIGN_OR_RETURN(const auto model,
                         ModelLoader::Open(GoldenPath("valid", "many_tiles.nwc"), {}));
    const std::atomic<bool> cancel = sockets->rank() == 0;
    RankLoad load;
    NWC_RETURN_IF_ERROR(load.Join(GetParam(), std::move(sockets)));
    return LoadOnDevice(&load.device, *model, load.options, Everything(*model), nullptr, nullptr,
                        &cancel);
  });
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code, ErrorCode::kCancelled) << outcome.message;
  }
}

TEST_P(BroadcastLoad, RanksThatMeanOtherTensorsAreTold) {
  const auto model = MakeLayers();
  const auto outcomes = RunRanks(2, kLong, [&](auto sockets, auto* hashes) -> Status {
    RankLoad load;
    std::vector<TensorRequest> requests = Everything(*model);
    if (sockets->rank() == 1) std::swap(requests[0], requests[1]);
    NWC_RETURN_IF_ERROR(load.Join(GetParam(), std::move(sockets)));
    return load.Run(*model, requests, hashes);
  });
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code, ErrorCode::kUsage) << outcome.message;
    EXPECT_EQ(outcome.message.substr(0, 7), "rank 1:");
  }
}

TEST_P(BroadcastLoad, ARanksOwnBudgetIsKept) {
  const auto outcomes = LoadFile(2, GoldenPath("valid", "many_tiles.nwc"), [](RankLoad* load) {
    load->options.staging_bytes = load->ranks->rank() == 0 ? 60 << 10 : 600;
  });
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code, ErrorCode::kUsage) << outcome.message;
    EXPECT_NE(outcome.message.find("rank 1: "), std::string::npos);
    EXPECT_NE(outcome.message.find("staging_bytes of at least"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, BroadcastLoad, testing::Values(Way::kSockets, Way::kNccl), WayName);

}  // namespace
}  // namespace nwc
