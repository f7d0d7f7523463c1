#include "loader/fetch_plan.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

constexpr uint64_t kLimit = 10000;

TensorInfo Tensor(const std::string& name, std::vector<Chunk> chunks) {
  TensorInfo t;
  t.name = name;
  t.chunks = std::move(chunks);
  t.rows = t.chunks.size();  // each chunk one weight
  t.columns = 1;
  return t;
}

// Tensor 0: chunks at 4096 and 4200; tensor 1: side information and a chunk 4000 bytes on; tensor
// 2: one large chunk; tensor 3: a small one right behind.
Index FourTensors() {
  Index index;
  index.tensors.push_back(Tensor("a", {{4096, 0, 100}, {4200, 0, 300}}));
  index.tensors.push_back(Tensor("b", {{8600, 0, 400}}));
  index.tensors[1].profile_value = 2;
  index.tensors[1].stream = StreamInfo{};
  index.tensors[1].stream->side = {8500, 100, 0};
  index.tensors.push_back(Tensor("c", {{9000, 0, 50000}}));
  index.tensors.push_back(Tensor("d", {{59000, 0, 8}}));
  return index;
}

std::vector<TensorRequest> Whole(const std::vector<size_t>& numbers) {
  std::vector<TensorRequest> requests;
  for (const size_t number : numbers) requests.push_back({number});
  return requests;
}

FetchPlan Plan(const Index& index, const std::vector<size_t>& numbers, uint64_t limit = kLimit) {
  auto plan = PlanFetch(index, Whole(numbers), limit);
  EXPECT_TRUE(plan.ok()) << plan.status().ToString();
  return *plan;
}

TEST(FetchPlan, NeighboursShareARead) {
  const FetchPlan plan = Plan(FourTensors(), {0});
  ASSERT_EQ(plan.reads.size(), 1u);
  EXPECT_EQ(plan.reads[0].offset, 4096u);
  EXPECT_EQ(plan.reads[0].size_bytes, 404u);
  ASSERT_EQ(plan.pieces.size(), 2u);
  EXPECT_EQ(plan.pieces[1].read_offset, 104u);
  EXPECT_EQ(plan.pieces[1].chunk, 1u);
  EXPECT_EQ(plan.pieces[1].size_bytes, 300u);
  EXPECT_EQ(plan.total_bytes, 404u);
}

TEST(FetchPlan, PaddingIsReadThroughOnlyBetweenWantedExtents) {
  const FetchPlan both = Plan(FourTensors(), {0, 1});
  ASSERT_EQ(both.reads.size(), 1u);
  EXPECT_EQ(both.reads[0].size_bytes, 9000u - 4096u);
  const FetchPlan second = Plan(FourTensors(), {1});
  ASSERT_EQ(second.reads.size(), 1u);
  EXPECT_EQ(second.reads[0].offset, 8500u);
  EXPECT_EQ(second.total_bytes, 500u);
}

TEST(FetchPlan, AGapOfAPageSplits) {
  Index index;
  index.tensors.push_back(Tensor("a", {{4096, 0, 100}}));
  index.tensors.push_back(Tensor("b", {{4196 + 4095, 0, 100}}));
  index.tensors.push_back(Tensor("c", {{4196 + 4195 + 4096, 0, 100}}));
  EXPECT_EQ(Plan(index, {0, 1}).reads.size(), 1u);
  EXPECT_EQ(Plan(index, {0, 1, 2}).reads.size(), 2u);
}

TEST(FetchPlan, ALargeChunkIsOneReadByItself) {
  const FetchPlan plan = Plan(FourTensors(), {0, 1, 2, 3});
  ASSERT_EQ(plan.reads.size(), 3u);
  EXPECT_EQ(plan.reads[1].offset, 9000u);
  EXPECT_EQ(plan.reads[1].size_bytes, 50000u);
  EXPECT_EQ(plan.reads[1].piece_end - plan.reads[1].piece_begin, 1u);
  EXPECT_EQ(plan.largest_read, 1u);
  EXPECT_EQ(plan.largest_read_bytes, 50000u);
}

TEST(FetchPlan, TheLimitSplitsReads) {
  const FetchPlan plan = Plan(FourTensors(), {0, 1}, 403);
  ASSERT_EQ(plan.reads.size(), 4u);
  for (const FetchRead& read : plan.reads) EXPECT_LE(read.size_bytes, 403u);
}

TEST(FetchPlan, SideInformationComesBeforeItsChunks) {
  const FetchPlan plan = Plan(FourTensors(), {1, 3});
  ASSERT_EQ(plan.pieces.size(), 3u);
  EXPECT_EQ(plan.pieces[0].chunk, FetchPiece::kSideInfo);
  EXPECT_EQ(plan.pieces[0].tensor, 0u);
  EXPECT_EQ(plan.pieces[1].chunk, 0u);
  EXPECT_EQ(plan.pieces[2].tensor, 1u);
}

TEST(FetchPlan, ReadsFollowTheOrderOfTheRequests) {
  const FetchPlan plan = Plan(FourTensors(), {3, 0, 1});
  ASSERT_EQ(plan.reads.size(), 2u);  // 0 and 1 are neighbours in the order too
  EXPECT_EQ(plan.reads[0].offset, 59000u);
  EXPECT_EQ(plan.reads[1].offset, 4096u);
  EXPECT_EQ(plan.pieces[0].tensor, 0u);
  EXPECT_EQ(plan.requests[plan.pieces[1].tensor].number, 0u);
  EXPECT_EQ(Plan(FourTensors(), {1, 0}).reads.size(), 2u);  // backwards nothing joins
}

TEST(FetchPlan, ASliceWantsItsChunksOnly) {
  Index index;
  index.tensors.push_back(Tensor("grid", {{4096, 0, 4096},
                                          {8192, 0, 4096},
                                          {12288, 0, 4096},
                                          {16384, 0, 4096},
                                          {20480, 0, 4096},
                                          {24576, 0, 4096}}));
  TensorInfo& grid = index.tensors[0];  // 3 × 2 tiles of 10 × 8, clipped to 25 × 12
  grid.rows = 25, grid.columns = 12, grid.tile_rows = 10, grid.tile_columns = 8;
  const auto chunks = [&](const TensorSlice& slice) {
    const TensorRequest request{0, slice};
    const auto plan = PlanFetch(index, {&request, 1}, 1 << 20);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    std::vector<size_t> numbers;
    for (const FetchPiece& piece : plan->pieces) numbers.push_back(piece.chunk);
    EXPECT_EQ(plan->total_bytes, 4096 * numbers.size());
    return numbers;
  };
  using Numbers = std::vector<size_t>;
  EXPECT_EQ(chunks({}), (Numbers{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(chunks({0, 10, 0, 8}), (Numbers{0}));
  EXPECT_EQ(chunks({10, 11, 7, 9}), (Numbers{2, 3}));
  EXPECT_EQ(chunks({9, 21, 8, 12}), (Numbers{1, 3, 5}));
  EXPECT_EQ(chunks({24, TensorSlice::kEnd, 0, 1}), (Numbers{4}));
}

TEST(FetchPlan, NothingWantedIsNothingRead) { EXPECT_TRUE(Plan(FourTensors(), {}).reads.empty()); }

TEST(FetchPlan, RefusesWhatItCannotPlan) {
  Index index = FourTensors();
  const auto code = [&](const std::vector<size_t>& numbers) {
    return PlanFetch(index, Whole(numbers), kLimit).status().code();
  };
  EXPECT_EQ(code({1, 0, 1}), ErrorCode::kUsage);
  EXPECT_EQ(code({4}), ErrorCode::kUsage);
  index.tensors[3].profile_value = 9;
  EXPECT_EQ(code({3}), ErrorCode::kUnsupported);
  index.tensors[2].chunks[0].offset = UINT64_MAX - 3;
  EXPECT_EQ(code({2}), ErrorCode::kInternal);
}

TEST(AlignReads, WidensToBlocksOfTheFile) {
  FetchPlan plan = Plan(FourTensors(), {1, 3});  // 8500 to 9000 and 59000 to 59008
  AlignReads(4096, 59500, kLimit, &plan);
  ASSERT_EQ(plan.reads.size(), 2u);
  EXPECT_EQ(plan.reads[0].offset, 8192u);
  EXPECT_EQ(plan.reads[0].size_bytes, 4096u);
  EXPECT_EQ(plan.pieces[0].read_offset, 8500u - 8192u);
  EXPECT_EQ(plan.pieces[1].read_offset, 8600u - 8192u);
  EXPECT_EQ(plan.reads[1].offset, 57344u);
  EXPECT_EQ(plan.reads[1].size_bytes, 59500u - 57344u);  // no further than the file goes
  EXPECT_EQ(plan.pieces[2].read_offset, 59000u - 57344u);
  EXPECT_EQ(plan.total_bytes, 4096u + 59500u - 57344u);
  EXPECT_EQ(plan.largest_read_bytes, 4096u);
}

TEST(AlignReads, LeavesWhatWouldPassTheLimit) {
  FetchPlan plan = Plan(FourTensors(), {1, 2});
  AlignReads(4096, 100000, 50001, &plan);
  ASSERT_EQ(plan.reads.size(), 2u);
  EXPECT_EQ(plan.reads[0].offset, 8192u);
  EXPECT_EQ(plan.reads[1].offset, 9000u);
  EXPECT_EQ(plan.reads[1].size_bytes, 50000u);
}

TEST(AppendPlan, PutsReadsOfAnotherFileBehind) {
  FetchPlan plan;
  AppendPlan(Plan(FourTensors(), {0, 1}), 0, &plan);
  AppendPlan(Plan(FourTensors(), {3, 2}), 1, &plan);
  ASSERT_EQ(plan.requests.size(), 4u);
  EXPECT_EQ(plan.requests[2].number, 3u);
  ASSERT_EQ(plan.reads.size(), 3u);
  EXPECT_EQ(plan.reads[0].part, 0u);
  EXPECT_EQ(plan.reads[1].part, 1u);
  EXPECT_EQ(plan.reads[1].offset, 59000u);
  ASSERT_EQ(plan.pieces.size(), 6u);
  EXPECT_EQ(plan.reads[1].piece_begin, 4u);
  EXPECT_EQ(plan.pieces[4].tensor, 2u);
  EXPECT_EQ(plan.pieces[5].tensor, 3u);
  EXPECT_EQ(plan.total_bytes, 9000u - 4096u + 8 + 50000);
  EXPECT_EQ(plan.largest_read, 2u);
}

}  // namespace
}  // namespace nwc
