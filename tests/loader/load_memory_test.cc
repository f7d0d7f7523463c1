// A load takes its staging budget, the tensors it hands out and little else, whatever the size of
// the file and the way of reading. Another process loads, so that only its memory counts.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

constexpr uint64_t kBudget = 8 << 20;
constexpr uint64_t kElse = 32 << 20;  // program, stacks, index, decoders' tables
constexpr uint64_t kTensorBytes = 8 << 20;
constexpr uint64_t kTensors = 20;
constexpr uint64_t kOpenTensors = 3;  // the one that is handed over and two behind it

class LoadMemory : public testing::TestWithParam<IoMode> {
 protected:
  static void SetUpTestSuite() {
    ContainerBuilder builder;
    for (uint64_t i = 0; i < kTensors; ++i) {
      const std::string name = "t" + std::to_string(i);
      if (i % 5 == 4) {
        builder.AddStream(name, DType::kBF16, {2048, 2048, 256, 256});
      } else {
        builder.AddRaw(name, DType::kU8, {2048, 4096, 64, 4096});
      }
    }
    file_ = new TemporaryFile(builder.Finish());
  }
  static void TearDownTestSuite() {
    delete file_;
    file_ = nullptr;
  }

  // Peak resident bytes, or 0 where this way of reading is refused.
  static uint64_t PeakOf(const char* what) {
    const std::string command = std::string(LOAD_PEAK) + " " + file_->path() + " " +
                                IoModeName(GetParam()) + " " + std::to_string(kBudget) + " " + what;
    FILE* const output = popen(command.c_str(), "re");
    unsigned long long resident = 0, staging = 0;
    const bool read = std::fscanf(output, "%llu %llu", &resident, &staging) == 2;
    if (pclose(output) != 0 || !read) return 0;
    EXPECT_GT(staging, 0u);
    EXPECT_LE(staging, kBudget);
    return resident;
  }

  static TemporaryFile* file_;
};
TemporaryFile* LoadMemory::file_ = nullptr;

TEST_P(LoadMemory, OfAStreamIsTheBudgetAndTheTensorsInHand) {
  const uint64_t peak = PeakOf("drop");
  if (peak == 0 && GetParam() != IoMode::kPread) GTEST_SKIP() << "refused here";
  EXPECT_GT(peak, kTensorBytes);
  EXPECT_LE(peak, kBudget + kOpenTensors * kTensorBytes + kElse);
}

TEST_P(LoadMemory, OfAModelThatIsKeptIsTheBudgetAndTheModel) {
  const uint64_t peak = PeakOf("keep");
  if (peak == 0 && GetParam() != IoMode::kPread) GTEST_SKIP() << "refused here";
  EXPECT_GT(peak, kTensors * kTensorBytes);
  EXPECT_LE(peak, kBudget + kTensors * kTensorBytes + kElse);
}

INSTANTIATE_TEST_SUITE_P(Readers, LoadMemory,
                         testing::Values(IoMode::kPread, IoMode::kUring, IoMode::kDirect,
                                         IoMode::kMmap),
                         [](const auto& io) { return std::string(IoModeName(io.param)); });

}  // namespace
}  // namespace nwc
