#include "encoder/models/activation_store.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

// 3 tensors of an odd number of bytes, so that pages are shared between slots.
void CheckThatAllComeBack(uint64_t memory_bytes) {
  std::vector<torch::Tensor> given;
  for (int i = 0; i < 3; ++i) given.push_back(torch::randn({2, 617, 5}));
  const auto bytes = static_cast<uint64_t>(3 * given[0].nbytes());
  auto store = ActivationStore::Create(3, bytes, memory_bytes);
  ASSERT_TRUE(store.ok()) << store.status().message();
  for (size_t i = 0; i < 3; ++i) store->Keep(i, given[i]);
  for (const size_t i : {2, 0, 1}) {
    EXPECT_TRUE(torch::equal(store->Get(i), given[i])) << i;
    EXPECT_TRUE(torch::equal(store->Get(i), given[i])) << i;
    store->Drop(i);
  }
}

TEST(ActivationStore, KeepsInMemory) { CheckThatAllComeBack(1 << 20); }

TEST(ActivationStore, KeepsInAFileWhatMemoryMayNotHold) { CheckThatAllComeBack(0); }

}  // namespace
}  // namespace nwc
