#include "encoder/models/activation_store.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

void CheckThatAllComeBack(uint64_t memory_bytes) {
  std::vector<torch::Tensor> given;
  for (int i = 0; i < 3; ++i) given.push_back(torch::randn({2, 617, 5}));
  const auto bytes = static_cast<uint64_t>(3 * given[0].nbytes());
  auto store = ActivationStore::Create(3, bytes, memory_bytes);
  ASSERT_TRUE(store.ok()) << store.status().message();
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(store->Keep(i, given[i]).ok());
  for (const size_t i : {2, 0, 1}) {
    for (int time = 0; time < 2; ++time) {
      const auto found = store->Get(i);
      ASSERT_TRUE(found.ok()) << found.status().message();
      EXPECT_TRUE(torch::equal(*found, given[i])) << i;
    }
    store->Drop(i);
  }
}

TEST(ActivationStore, KeepsInMemory) { CheckThatAllComeBack(1 << 20); }

TEST(ActivationStore, KeepsInAFileWhatMemoryMayNotHold) { CheckThatAllComeBack(0); }

}  // namespace
}  // namespace nwc
