// Many threads at one Loader, for ThreadSanitizer: whole tensors, slices, streams and metadata, of
// tensors that are good and of one that is damaged.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "loader/loader.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

constexpr int kThreads = 32;
constexpr size_t kDamaged = 6;  // layers.0.v.weight

class ManyThreads : public testing::TestWithParam<IoMode> {
 protected:
  void SetUp() override {
    AddMixedTensors(&builder_);
    file_ = std::make_unique<TemporaryFile>(builder_.Finish());
    file_->FlipByte(builder_.index().tensors[kDamaged].chunks[3].offset + 5);
    LoadOptions options;
    options.io = GetParam();
    options.threads = 2;
    options.staging_bytes = 100'000;
    auto loader = Loader::Open(file_->path(), options);
    ASSERT_TRUE(loader.ok()) << loader.status().ToString();
    loader_ = std::move(*loader);
  }

  // What one thread found wrong, or nothing.
  std::string Work(unsigned seed) const {
    std::mt19937 rng(seed);
    for (int round = 0; round < 3; ++round) {
      const size_t number = rng() % builder_.count();
      const auto tensor = loader_->Load(number);
      if (number == kDamaged ? tensor.status().rule() != 20
                             : !tensor.ok() || BytesOf(*tensor) != builder_.expected(number)) {
        return "tensor " + std::to_string(number) + ": " + tensor.status().ToString();
      }
      if (const std::string wrong = LoadSlice(rng() % 65, rng() % 33); !wrong.empty()) return wrong;
      if (!loader_->LoadFile(0).ok()) return "the metadata file";
      if (!loader_->Find("lm_head.weight").ok()) return "a name";
    }
    std::vector<size_t> numbers = {8, 5, 1, 2};
    std::shuffle(numbers.begin(), numbers.end(), rng);
    size_t right = 0;
    const Status status = loader_->Stream(numbers, [&](Tensor tensor) -> Status {
      right += BytesOf(tensor) == builder_.expected(tensor.number) ? 1 : 0;
      return {};
    });
    if (!status.ok()) return status.ToString();
    return right == numbers.size() ? "" : "a stream's bytes";
  }

  // Up to the end, of 'layers.1.q.weight': F16, 65 × 33.
  [[nodiscard]] std::string LoadSlice(uint64_t row, uint64_t column) const {
    const auto part =
        loader_->Load("layers.1.q.weight", {.row_begin = row, .column_begin = column});
    if (!part.ok()) return part.status().ToString();
    std::vector<uint8_t> wanted;
    for (uint64_t r = row; r < 65; ++r) {
      const auto begin =
          builder_.expected(8).begin() + static_cast<ptrdiff_t>(2 * (r * 33 + column));
      wanted.insert(wanted.end(), begin, begin + static_cast<ptrdiff_t>(2 * (33 - column)));
    }
    return BytesOf(*part) == wanted ? "" : "a slice";
  }

  ContainerBuilder builder_;
  std::unique_ptr<TemporaryFile> file_;
  std::unique_ptr<Loader> loader_;
};

TEST_P(ManyThreads, LoadFromOneContainer) {
  std::vector<std::string> wrong(kThreads);
  std::atomic<bool> go = false;  // all at once: codecs are made by whoever is first
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      while (!go) std::this_thread::yield();
      wrong[static_cast<size_t>(i)] = Work(static_cast<unsigned>(i));
    });
  }
  go = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<std::string>(kThreads));
}

INSTANTIATE_TEST_SUITE_P(Readers, ManyThreads,
                         testing::Values(IoMode::kPread, IoMode::kAuto, IoMode::kDirect,
                                         IoMode::kMmap),
                         [](const auto& io) { return std::string(IoModeName(io.param)); });

}  // namespace
}  // namespace nwc
