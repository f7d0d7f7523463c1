// The alias layout of spec/codec.md section 3, step by step, on arrays of the caller: what builders
// on every device share.
#pragma once

#include <cstdint>

#include "format/freq_table.h"
#include "format/host_device.h"

namespace nwc {

// Each holds 2^bucket_bits entries.
struct AliasArrays {
  uint16_t* remaining;  // in: frequencies that sum to 4096, missing symbols 0; overwritten
  uint16_t* queue;      // scratch
  uint16_t* threshold;
  uint16_t* alias;
  uint16_t* first;
};

NWC_HOST_DEVICE inline void LayOutAliases(int bucket_bits, const AliasArrays& a) {
  const uint32_t buckets = 1u << bucket_bits;
  const uint32_t capacity = kProbabilityScale >> bucket_bits;
  uint32_t queued = 0;
  for (uint32_t s = 0; s < buckets; ++s) {
    a.threshold[s] = static_cast<uint16_t>(capacity);
    a.alias[s] = static_cast<uint16_t>(s);
    if (a.remaining[s] < capacity) a.queue[queued++] = static_cast<uint16_t>(s);
  }
  // The next symbol that has slots to give; those after the donor are as they were.
  uint32_t donor = 0;
  const auto seek_donor = [&] {
    while (donor < buckets && a.remaining[donor] < capacity) ++donor;
  };
  seek_donor();
  for (uint32_t front = 0; front < queued && donor < buckets; ++front) {
    const uint32_t s = a.queue[front];
    a.threshold[s] = a.remaining[s];
    a.alias[s] = static_cast<uint16_t>(donor);
    a.remaining[donor] = static_cast<uint16_t>(a.remaining[donor] + a.remaining[s] - capacity);
    if (a.remaining[donor] < capacity) {
      a.queue[queued++] = static_cast<uint16_t>(donor++);
      seek_donor();
    }
  }
  uint16_t* given = a.remaining;
  for (uint32_t b = 0; b < buckets; ++b) given[b] = 0;
  for (uint32_t b = 0; b < buckets; ++b) {
    uint16_t& total = given[a.alias[b]];
    a.first[b] = total;
    total = static_cast<uint16_t>(total + capacity - a.threshold[b]);
  }
}

// Bucket b with the given 8-bit fields. The rank is low - thr (+ first); a look-up adds low - cap,
// so both words carry + cap. A slot of the alias has low ≥ thr, hence first + cap - thr ≤ f ≤ 4095
// and 12 bits hold it.
NWC_HOST_DEVICE inline AliasBucket PackAliasBucket(const AliasArrays& a, int bucket_bits,
                                                   uint32_t b, uint32_t frequency,
                                                   uint32_t alias_frequency, uint8_t primary_field,
                                                   uint8_t alias_field) {
  const uint32_t bias = (kProbabilityScale >> bucket_bits) - a.threshold[b];
  const uint32_t alias_bias = (bias + a.first[b]) & 0xFFF;
  return {bias << 20 | uint32_t{primary_field} << 12 | frequency,
          alias_bias << 20 | uint32_t{alias_field} << 12 | alias_frequency};
}

}  // namespace nwc
