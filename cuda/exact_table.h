// The alias table of an `exact` chunk built by a whole warp, to the same bits as LayOutAliases
// (format/alias_layout.h) does one step after the other.
//
// There, symbols with fewer slots than a bucket holds queue for the rest, and one donor after the
// other gives to the front of the queue until it has too few itself and joins the queue's end. Here
// a warp takes 32 of the queue at once. What they lack, summed up to each lane, says who is the
// last that the donor serves, so one ballot is a donor's whole work.
#pragma once

#include "cuda/device_code.h"
#include "cuda/word_ring.h"
#include "format/alias_layout.h"

namespace nwc {

inline constexpr uint32_t kExactTableBits = 8;
inline constexpr uint32_t kExactTableSize = 1u << kExactTableBits;
inline constexpr uint32_t kExactCapacity = kProbabilityScale >> kExactTableBits;

struct ExactLane : RansLane {
  uint32_t symbol;
  uint32_t amount;  // slots that are lacking, at most kExactCapacity
};

// In shared memory, of one warp.
struct ExactTable {
  AliasBucket bucket[kExactTableSize];
  uint16_t frequency[kExactTableSize];
  uint16_t threshold[kExactTableSize];
  uint16_t alias[kExactTableSize];
  union {
    uint16_t queue[kExactTableSize];
    uint16_t given[kExactTableSize];  // then: by each alias, to buckets that were looked at
  };
  union {
    uint16_t donors[kExactTableSize];  // in their order
    uint16_t first[kExactTableSize];   // then
  };
};

// The lanes' amounts, as one mask for each of their bits.
class LaneAmounts {
 public:
  template <typename Warp>
  NWC_DEVICE_INLINE explicit LaneAmounts(const Warp& warp) {
    NWC_UNROLL
    for (uint32_t bit = 0; bit < kBits; ++bit) {
      masks_[bit] =
          warp.Ballot([&](const ExactLane& lane) { return (lane.amount >> bit & 1) != 0; });
    }
  }
  // Of the lanes in the mask.
  [[nodiscard]] NWC_DEVICE_INLINE uint32_t Sum(uint32_t lanes) const {
    uint32_t sum = 0;
    NWC_UNROLL
    for (uint32_t bit = 0; bit < kBits; ++bit) sum += CountOnes(masks_[bit] & lanes) << bit;
    return sum;
  }

 private:
  static constexpr uint32_t kBits = 5;
  static_assert(kExactCapacity < 1u << kBits);
  uint32_t masks_[kBits];
};

// Lanes first … end - 1.
NWC_DEVICE_INLINE uint32_t LanesBetween(uint32_t first, uint32_t end) {
  return (end >= kWarpLanes ? 0xFFFFFFFFu : (1u << end) - 1) & ~((1u << first) - 1);
}

// Symbols in their order: who lacks slots into the queue, the others among the donors. Returns the
// length of the queue.
template <typename Warp>
NWC_DEVICE_INLINE uint32_t SortExactSymbols(Warp& warp, ExactTable* table) {
  uint32_t queued = 0;
  for (uint32_t group = 0; group < kExactTableSize; group += kWarpLanes) {
    warp.Each([&](ExactLane& lane, int id) {
      lane.symbol = group + static_cast<uint32_t>(id);
      lane.bad = table->frequency[lane.symbol] < kExactCapacity;
    });
    const uint32_t lacking = warp.Ballot([](const ExactLane& lane) { return lane.bad; });
    warp.Each([&](ExactLane& lane, int id) {
      const auto symbol = static_cast<uint16_t>(lane.symbol);
      const uint32_t before = queued + RankInMask(lacking, id);  // in the queue
      table->alias[symbol] = symbol;
      table->threshold[symbol] = lane.bad ? table->frequency[symbol] : kExactCapacity;
      if (lane.bad) {
        table->queue[before] = symbol;
      } else {
        table->donors[symbol - before] = symbol;
      }
    });
    queued += CountOnes(lacking);
  }
  return queued;
}

// Gives the lanes `begin` … count - 1, each with a symbol of the queue, their alias, and those
// donors that join the queue their threshold.
template <typename Warp>
NWC_DEVICE_INLINE void ServeExactLanes(Warp& warp, ExactTable* table, uint32_t count,
                                       uint32_t* donor, uint32_t* surplus, uint32_t* queued) {
  const LaneAmounts amounts(warp);
  for (uint32_t begin = 0; begin < count;) {
    const uint32_t giver = table->donors[*donor];
    warp.Each([&](ExactLane& lane, int id) {
      const auto end = static_cast<uint32_t>(id) + 1;
      lane.bad = end > begin && end <= count && amounts.Sum(LanesBetween(begin, end)) > *surplus;
    });
    const uint32_t beyond = warp.Ballot([](const ExactLane& lane) { return lane.bad; });
    const uint32_t end = beyond != 0 ? LowestBit(beyond) + 1 : count;
    const uint32_t taken = amounts.Sum(LanesBetween(begin, end));
    warp.Each([&](ExactLane& lane, int id) {
      const auto own = static_cast<uint32_t>(id);
      if (own >= begin && own < end) table->alias[lane.symbol] = static_cast<uint16_t>(giver);
      if (own == 0 && beyond != 0) {
        table->threshold[giver] = static_cast<uint16_t>(kExactCapacity + *surplus - taken);
        table->queue[*queued] = static_cast<uint16_t>(giver);
      }
    });
    begin = end;
    *surplus -= taken;
    if (beyond == 0) continue;
    // All slots sum up to what all buckets hold: who lacks some finds a donor.
    ++*queued;
    ++*donor;
    *surplus = table->frequency[table->donors[*donor]] - kExactCapacity;
  }
}

template <typename Warp>
NWC_DEVICE_INLINE void ServeExactQueue(Warp& warp, ExactTable* table, uint32_t queued) {
  warp.Sync();
  uint32_t donor = 0;
  uint32_t surplus = table->frequency[table->donors[0]] - kExactCapacity;
  for (uint32_t front = 0; front < queued;) {
    const uint32_t count = Least<uint32_t>(queued - front, kWarpLanes);
    warp.Sync();
    warp.Each([&](ExactLane& lane, int id) {
      const auto own = static_cast<uint32_t>(id);
      lane.symbol = own < count ? table->queue[front + own] : 0;
      lane.amount = own < count ? kExactCapacity - table->threshold[lane.symbol] : 0;
    });
    ServeExactLanes(warp, table, count, &donor, &surplus, &queued);
    front += count;
  }
}

// first: what an alias gives to the buckets before.
template <typename Warp>
NWC_DEVICE_INLINE void RankExactAliases(Warp& warp, ExactTable* table) {
  warp.Sync();
  warp.Each([&](ExactLane&, int id) {
    for (auto b = static_cast<uint32_t>(id); b < kExactTableSize; b += kWarpLanes) {
      table->given[b] = 0;
    }
  });
  for (uint32_t group = 0; group < kExactTableSize; group += kWarpLanes) {
    warp.Sync();
    warp.Each([&](ExactLane& lane, int id) {
      const uint32_t bucket = group + static_cast<uint32_t>(id);
      lane.symbol = table->alias[bucket];
      lane.amount = kExactCapacity - table->threshold[bucket];
    });
    const LaneAmounts amounts(warp);
    for (uint32_t left = 0xFFFFFFFFu; left != 0;) {
      const uint32_t alias = table->alias[group + LowestBit(left)];
      const uint32_t same =
          warp.Ballot([&](const ExactLane& lane) { return lane.symbol == alias; });
      const uint32_t before = table->given[alias];
      warp.Sync();
      warp.Each([&](ExactLane&, int id) {
        const auto own = static_cast<uint32_t>(id);
        if ((same >> own & 1) == 0) return;
        table->first[group + own] =
            static_cast<uint16_t>(before + amounts.Sum(same & LanesBetween(0, own)));
        if (own == LowestBit(same)) {
          table->given[alias] = static_cast<uint16_t>(before + amounts.Sum(same));
        }
      });
      left &= ~same;
    }
  }
}

// The buckets from table->frequency; false when they do not sum to 4096.
template <typename Warp>
NWC_DEVICE bool BuildExactTable(Warp& warp, ExactTable* table) {
  warp.Sync();
  warp.Each([&](ExactLane& lane, int id) {
    lane.amount = 0;
    for (auto s = static_cast<uint32_t>(id); s < kExactTableSize; s += kWarpLanes) {
      lane.amount += table->frequency[s];
    }
  });
  if (warp.Sum([](const ExactLane& lane) { return lane.amount; }) != kProbabilityScale)
    return false;
  ServeExactQueue(warp, table, SortExactSymbols(warp, table));
  RankExactAliases(warp, table);
  warp.Sync();
  const AliasArrays arrays{nullptr, nullptr, table->threshold, table->alias, table->first};
  warp.Each([&](ExactLane&, int id) {
    for (auto b = static_cast<uint32_t>(id); b < kExactTableSize; b += kWarpLanes) {
      const uint32_t alias = table->alias[b];
      table->bucket[b] =
          PackAliasBucket(arrays, kExactTableBits, b, table->frequency[b], table->frequency[alias],
                          static_cast<uint8_t>(b), static_cast<uint8_t>(alias));
    }
  });
  warp.Sync();
  return true;
}

}  // namespace nwc
