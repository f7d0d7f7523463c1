#include "loader/staging_ring.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace nwc {
namespace {

TEST(StagingRing, GivesRoomInOrderAndTakesItBackInAnyOrder) {
  StagingRing ring(256);
  const auto a = ring.Reserve(100);
  const auto b = ring.Reserve(64);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->position, 0u);
  EXPECT_EQ(b->position, 128u);
  EXPECT_FALSE(ring.Reserve(100));
  ring.Release(b->ticket);
  EXPECT_FALSE(ring.HasRoom(100));  // a is older
  ring.Release(a->ticket);
  EXPECT_EQ(ring.used_bytes(), 0u);
  EXPECT_EQ(ring.Reserve(256)->position, 0u);
  EXPECT_EQ(ring.peak_bytes(), 256u);
}

TEST(StagingRing, WrapsAround) {
  StagingRing ring(256);
  const auto a = ring.Reserve(128);
  const auto b = ring.Reserve(64);
  ring.Release(a->ticket);
  const auto c = ring.Reserve(100);
  ASSERT_TRUE(c);
  EXPECT_EQ(c->position, 0u);
  EXPECT_FALSE(ring.Reserve(1));  // 100 is rounded up to where b begins
  ring.Release(b->ticket);
  EXPECT_EQ(ring.Reserve(128)->position, 128u);
}

TEST(StagingRing, MoreThanAllNeverFits) {
  StagingRing ring(100);
  EXPECT_FALSE(ring.Reserve(101));
  EXPECT_TRUE(ring.Reserve(100));
}

TEST(StagingRing, EmptyReservationsAreDistinct) {
  StagingRing ring(200);
  const auto a = ring.Reserve(0);
  const auto b = ring.Reserve(0);
  ASSERT_TRUE(a && b);
  EXPECT_NE(a->position, b->position);
}

TEST(StagingRing, RandomUseNeverOverlaps) {
  std::mt19937 rng(1);
  StagingRing ring(5000);
  std::map<uint64_t, std::pair<size_t, size_t>> live;  // by ticket: begin and end
  for (int step = 0; step < 20000; ++step) {
    if (rng() % 2 == 0 && !live.empty()) {
      auto victim = std::next(live.begin(), static_cast<ptrdiff_t>(rng() % live.size()));
      ring.Release(victim->first);
      live.erase(victim);
      continue;
    }
    const size_t size = 1 + rng() % 1500;
    const auto room = ring.Reserve(size);
    ASSERT_TRUE(room || !live.empty());
    if (!room) continue;
    ASSERT_LE(room->position + size, ring.capacity_bytes());
    for (const auto& [ticket, range] : live) {
      ASSERT_TRUE(room->position + size <= range.first || range.second <= room->position);
    }
    live[room->ticket] = {room->position, room->position + size};
  }
  EXPECT_LE(ring.peak_bytes(), 5000u);
}

}  // namespace
}  // namespace nwc
