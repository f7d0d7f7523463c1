// A load that is refused memory, at each of its allocations in turn: once, and from then on. It
// ends with kOutOfMemory or does without; nothing is left, and the next load works. This program
// has its own operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <new>

#include "loader/loader.h"
#include "tests/loader/container_builder.h"

namespace {

std::atomic<bool> armed = false;
std::atomic<int64_t> allocations_left = 0;  // before the first refusal; counted down by all threads
std::atomic<bool> refuses_once = true;
std::atomic<int64_t> refusals = 0;
std::atomic<int64_t> live_blocks = 0;  // of operator new

bool Refused() {
  if (!armed) return false;
  const int64_t left = allocations_left.fetch_sub(1);
  if (refuses_once ? left != 0 : left > 0) return false;
  ++refusals;
  return true;
}

void* Allocate(size_t size) {
  if (Refused()) return nullptr;
  void* const block = std::malloc(size == 0 ? 1 : size);
  if (block != nullptr) ++live_blocks;
  return block;
}

void* AllocateOrThrow(size_t size) {
  void* const block = Allocate(size);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void Free(void* block) {
  if (block != nullptr) --live_blocks;
  std::free(block);
}

}  // namespace

void* operator new(size_t size) { return AllocateOrThrow(size); }
void* operator new[](size_t size) { return AllocateOrThrow(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }
void operator delete(void* block) noexcept { Free(block); }
void operator delete[](void* block) noexcept { Free(block); }
void operator delete(void* block, size_t) noexcept { Free(block); }
void operator delete[](void* block, size_t) noexcept { Free(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { Free(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { Free(block); }

namespace nwc {
namespace {

// The exhaustive run takes minutes under AddressSanitizer; leaks are counted here without it, too.
#ifdef NWC_SANITIZED
constexpr int64_t kStride = 7;
#else
constexpr int64_t kStride = 1;
#endif

struct Job {
  std::string path;
  LoadOptions options;
  std::vector<uint8_t> buffer;  // decoded bytes, one tensor after the other; has its size
};

// As much as a load can do without memory of its own; *decoded_bytes of job->buffer are filled.
Status OpenAndLoadAll(Job* job, size_t* decoded_bytes) {
  NWC_ASSIGN_OR_RETURN(const auto loader, Loader::Open(job->path, job->options));
  *decoded_bytes = 0;
  std::vector<size_t> numbers;
  try {
    numbers = loader->All();
  } catch (const std::bad_alloc&) {  // All() has no Status to give
    return Status(ErrorCode::kOutOfMemory, "no memory");
  }
  NWC_RETURN_IF_ERROR(loader->Stream(numbers, [&](Tensor tensor) -> Status {
    const auto bytes = tensor.bytes.span();
    std::copy(bytes.begin(), bytes.end(),
              job->buffer.begin() + static_cast<ptrdiff_t>(*decoded_bytes));
    *decoded_bytes += bytes.size();
    return {};
  }));
  if (loader->index().files.empty()) return {};
  return loader->LoadFile(0).status();
}

class OutOfMemory : public testing::TestWithParam<std::tuple<IoMode, bool>> {
 protected:
  void SetUp() override {
    ContainerBuilder builder;
    builder.AddFile("config.json", "{\"model_type\": \"test\"}");
    builder.AddRaw("embed.weight", DType::kBF16, {100, 64, 32, 64});
    builder.AddStream("q.weight", DType::kBF16, {100, 64, 64, 32});
    builder.AddExact("v.weight", DType::kF16, {90, 64, 40, 64});
    builder.AddEmpty("nothing");
    file_ = std::make_unique<TemporaryFile>(builder.Finish());
    job_.path = file_->path();
    job_.options.io = std::get<IoMode>(GetParam());
    job_.options.threads = 2;
    job_.options.staging_bytes = 16000;
    refuses_once = std::get<bool>(GetParam());
  }
  void TearDown() override { armed = false; }

  static size_t CountDescriptors() {
    const std::filesystem::directory_iterator entries("/proc/self/fd");
    return static_cast<size_t>(std::distance(begin(entries), end(entries)));
  }

  // The bytes that a load without refusals gives.
  std::vector<uint8_t> LoadRight() {
    job_.buffer.resize(1 << 20);
    size_t size = 0;
    const Status status = OpenAndLoadAll(&job_, &size);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return {job_.buffer.begin(), job_.buffer.begin() + static_cast<ptrdiff_t>(size)};
  }

  // Refuses allocation `number`, and in one of the two ways all after it. False when the load had
  // no such allocation.
  bool LoadRefused(int64_t number, const std::vector<uint8_t>& right) {
    const int64_t blocks_before = live_blocks;
    size_t size = 0;
    bool mentions_file = false;
    {
      refusals = 0;
      allocations_left = number;
      armed = true;
      const Status status = OpenAndLoadAll(&job_, &size);
      armed = false;
      failures_ += status.ok() ? 0 : 1;
      EXPECT_TRUE(status.ok() || status.code() == ErrorCode::kOutOfMemory)
          << number << ": " << status.ToString();
      mentions_file = status.message().find(job_.path) != std::string::npos;
      if (status.ok()) {
        EXPECT_TRUE(std::equal(right.begin(), right.end(), job_.buffer.begin()));
        EXPECT_EQ(size, right.size());
      }
    }
    named_ += mentions_file ? 1 : 0;
    EXPECT_EQ(live_blocks, blocks_before) << number;
    return refusals > 0;
  }

  void RefuseEachAllocation() {
    const std::vector<uint8_t> right = LoadRight();
    const size_t descriptors = CountDescriptors();
    int64_t number = 0;
    for (; LoadRefused(number, right) && !HasFailure(); number += kStride) {
      if (number % 16 == 0) {
        ASSERT_EQ(LoadRight(), right) << number;
      }
    }
    EXPECT_EQ(CountDescriptors(), descriptors);
    EXPECT_EQ(LoadRight(), right);
    EXPECT_GT(number, 100);
    EXPECT_GT(failures_, 100 / kStride);
    // Where no memory is left there is none for the message.
    if (refuses_once) {
      EXPECT_GT(named_, failures_ * 9 / 10);
    }
    RecordProperty("allocations", std::to_string(number));
    std::cout << number << " allocations, " << failures_ << " loads failed, " << named_
              << " named the file\n";
  }

  std::unique_ptr<TemporaryFile> file_;
  Job job_;
  int failures_ = 0, named_ = 0;
};

TEST_P(OutOfMemory, AtAnyAllocationOfALoad) { RefuseEachAllocation(); }

TEST_P(OutOfMemory, AtAnyAllocationOfALoadWithANeuralCodec) {
  job_.path = std::string(GOLDEN_VALID_FOLDER) + "/neural_not_finite.nwc";
  job_.options.staging_bytes = 64 << 20;
  RefuseEachAllocation();
}

INSTANTIATE_TEST_SUITE_P(
    Readers, OutOfMemory,
    testing::Combine(testing::Values(IoMode::kPread, IoMode::kAuto), testing::Bool()),
    [](const auto& p) {
      return std::string(std::get<IoMode>(p.param) == IoMode::kPread ? "Pread" : "Auto") +
             (std::get<bool>(p.param) ? "Once" : "FromThenOn");
    });

}  // namespace
}  // namespace nwc
