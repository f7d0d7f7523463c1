// The AVX2 decoder of `stream` chunks: the bits of the scalar one.
//
// A line of 32 lanes is four vectors of eight 32-bit lanes; vectors 0 and 1 hold the even and odd
// columns of the first half of the stripe, 2 and 3 of the second, so that two vectors of 16-bit
// results merge with one blend. What was tried before and lost is in tests/bench/README.md.
#include <immintrin.h>

#include <array>

#include "format/rans_avx2.h"
#include "format/stream_chunk.h"
#include "format/stream_dispatch.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

using avx2::RansVector;

// Trellis in vector form: byte s of `next` holds both successors of state s as 4-bit fields.
struct TrellisVectors {
  __m256i next;       // dword s: next(s,0) | next(s,1) << 4
  __m256i quantizer;  // dword s: q << bucket bits, the offset of table (t, q) from (t, 0)
};

TrellisVectors MakeTrellis(const Trellis& trellis, int bucket_bits) {
  alignas(32) std::array<uint32_t, 8> next{};
  alignas(32) std::array<uint32_t, 8> quantizer{};
  for (size_t s = 0; s < static_cast<size_t>(trellis.states); ++s) {
    next[s] = static_cast<uint32_t>(trellis.next[2 * s] | trellis.next[2 * s + 1] << 4);
    quantizer[s] = static_cast<uint32_t>(trellis.quantizer[s]) << bucket_bits;
  }
  return {_mm256_load_si256(reinterpret_cast<const __m256i*>(next.data())),
          _mm256_load_si256(reinterpret_cast<const __m256i*>(quantizer.data()))};
}

// Everything of a stripe that its rows share.
struct StripeConstants {
  __m256i column_table[4];  // b as an offset into the tables: b << (bucket bits + 1)
  __m256 column_factor[4];
  __m256i active[4];  // all ones where the column exists
};

// Values of columns past the edge are zero: their lanes are inactive.
StripeConstants LoadStripe(const StreamTileJob& job, uint32_t stripe) {
  alignas(32) std::array<int32_t, kLanes> table{};
  alignas(32) std::array<float, kLanes> factor{};
  alignas(32) std::array<int32_t, kLanes> active{};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(static_cast<int>(lane)));
    if (column >= job.columns) continue;
    table[lane] = job.column_table[column] * (2 << job.bucket_bits);
    factor[lane] = job.column_factors[column];
    active[lane] = -1;
  }
  StripeConstants c;
  for (size_t v = 0; v < 4; ++v) {
    c.column_table[v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(&table[8 * v]));
    c.column_factor[v] = _mm256_load_ps(&factor[8 * v]);
    c.active[v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(&active[8 * v]));
  }
  return c;
}

// 16 columns of binary32 (even, odd) to the output dtype, in column order.
template <DType kDType>
inline void Store16(__m256 even, __m256 odd, uint8_t* out, bool aligned) {
  if constexpr (kDType == DType::kF32) {
    const __m256 low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    const __m256 first = _mm256_permute2f128_ps(low, high, 0x20);
    const __m256 second = _mm256_permute2f128_ps(low, high, 0x31);
    auto* p = reinterpret_cast<float*>(out);
    if (aligned) {
      _mm256_stream_ps(p, first);
      _mm256_stream_ps(p + 8, second);
    } else {
      _mm256_storeu_ps(p, first);
      _mm256_storeu_ps(p + 8, second);
    }
  } else {
    __m256i merged;
    if constexpr (kDType == DType::kBF16) {
      const auto rounded = [](__m256 value) {
        const __m256i bits = _mm256_castps_si256(value);
        const __m256i lsb = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        return _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), lsb);
      };
      merged = _mm256_blend_epi16(_mm256_srli_epi32(rounded(even), 16), rounded(odd), 0xAA);
    } else {
      const __m256i e = _mm256_cvtepu16_epi32(_mm256_cvtps_ph(even, _MM_FROUND_TO_NEAREST_INT));
      const __m256i o = _mm256_cvtepu16_epi32(_mm256_cvtps_ph(odd, _MM_FROUND_TO_NEAREST_INT));
      merged = _mm256_or_si256(e, _mm256_slli_epi32(o, 16));
    }
    auto* p = reinterpret_cast<__m256i*>(out);
    if (aligned) {
      _mm256_stream_si256(p, merged);
    } else {
      _mm256_storeu_si256(p, merged);
    }
  }
}

template <int kBits, DType kDType, bool kPartial, StreamStage kLast>
class StripeDecoder {
 public:
  StripeDecoder(const StreamTileJob& job, const LaneStates& states)
      : job_(job), trellis_(MakeTrellis(*job.trellis, kBits)) {
    for (int v = 0; v < 4; ++v) x_[v] = avx2::LoadStates(states, v);
  }

  // Decodes rows from `row` on while a whole line's words are surely there, that is until words
  // pass `last_safe`; returns the row reached.
  uint32_t Rows(uint32_t row, uint32_t stripe, const StripeConstants& c, __m256i state[4],
                const uint8_t** words, const uint8_t* last_safe) {
    constexpr size_t kSize = kDType == DType::kF32 ? 4 : 2;
    uint8_t* out = job_.out + row * job_.row_stride_bytes + stripe * kSize;
    const bool aligned =
        !kPartial && reinterpret_cast<uintptr_t>(out) % 32 == 0 && job_.row_stride_bytes % 32 == 0;
    __m256i x[4] = {x_[0], x_[1], x_[2], x_[3]};
    __m256i s[4] = {state[0], state[1], state[2], state[3]};
    const uint8_t* at = *words;
    for (; row < job_.rows && at <= last_safe; ++row, out += job_.row_stride_bytes) {
      const __m256i row_table = _mm256_set1_epi32(job_.row_table[row] * (2 << kBits));
      const __m256 row_step = _mm256_set1_ps(job_.row_steps[row]);
      __m256 value[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        value[v] = Weights(c, v, row_table, row_step, &x[v], &s[v]);
      }
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) x[v] = avx2::Renormalize(x[v], &at);
      if constexpr (kLast < StreamStage::kStore) {
        for (const __m256 v : value) asm volatile("" : : "x"(v));  // where a measurement ends
      } else {
        StoreLine(value, out, stripe, aligned);
      }
    }
    for (int v = 0; v < 4; ++v) {
      x_[v] = x[v];
      state[v] = s[v];
    }
    *words = at;
    return row;
  }

  [[nodiscard]] LaneStates states() const {
    LaneStates states;
    for (int v = 0; v < 4; ++v) avx2::StoreStates(x_[v], v, &states);
    return states;
  }

 private:
  // Eight weights: look-up, trellis step, reconstruction.
  __m256 Weights(const StripeConstants& c, int v, __m256i row_table, __m256 row_step, __m256i* x,
                 __m256i* s) const {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i t =
        _mm256_min_epi32(_mm256_max_epi32(_mm256_add_epi32(row_table, c.column_table[v]), zero),
                         _mm256_set1_epi32((kTableCount - 1) << (kBits + 1)));
    const __m256i q = _mm256_permutevar8x32_epi32(trellis_.quantizer, *s);
    const __m256i base = _mm256_add_epi32(t, q);
    const __m256i entry = RansVector<kBits>::Step(job_.tables, base, *x, x, c.active[v], kPartial);
    // k is the byte at bits 12-19; its parity is bit 12.
    const __m256i k = _mm256_srai_epi32(_mm256_slli_epi32(entry, 12), 24);
    const __m256i shift = _mm256_and_si256(_mm256_srli_epi32(entry, 10), _mm256_set1_epi32(4));
    if constexpr (kLast >= StreamStage::kTrellis) {
      *s = _mm256_srlv_epi32(_mm256_permutevar8x32_epi32(trellis_.next, *s), shift);
    }
    if constexpr (kLast < StreamStage::kScale) return _mm256_castsi256_ps(k);
    // 64·(2|k| - q) - θ, with the sign of k.
    const __m256i magnitude = _mm256_abs_epi32(k);
    const __m256i is_one = _mm256_cmpeq_epi32(magnitude, _mm256_set1_epi32(1));
    const __m256i offset = _mm256_blendv_epi8(_mm256_set1_epi32(job_.offset2),
                                              _mm256_set1_epi32(job_.offset1), is_one);
    const __m256i less = _mm256_add_epi32(_mm256_srli_epi32(q, kBits - 6), offset);
    const __m256i level = _mm256_sub_epi32(_mm256_slli_epi32(k, 7), _mm256_sign_epi32(less, k));
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(level), c.column_factor[v]), row_step);
  }

  void StoreLine(const __m256 value[4], uint8_t* out, uint32_t stripe, bool aligned) const {
    constexpr size_t kSize = kDType == DType::kF32 ? 4 : 2;
    if constexpr (kPartial) {
      alignas(32) uint8_t line[kLanes * kSize];
      Store16<kDType>(value[0], value[1], line, false);
      Store16<kDType>(value[2], value[3], line + 16 * kSize, false);
      std::memcpy(out, line, (job_.columns - stripe) * kSize);
    } else {
      Store16<kDType>(value[0], value[1], out, aligned);
      Store16<kDType>(value[2], value[3], out + 16 * kSize, aligned);
    }
  }

  const StreamTileJob& job_;
  const TrellisVectors trellis_;
  __m256i x_[4];
};

template <int kBits, DType kDType, StreamStage kLast>
Status DecodeTile(const StreamTileJob& job, const LaneStates& first_states, ByteSpan bytes) {
  PaddedWords words(bytes);
  LaneStates states = first_states;
  for (uint32_t stripe = 0; stripe < job.columns; stripe += kLanes) {
    const StripeConstants c = LoadStripe(job, stripe);
    __m256i trellis_state[4] = {};
    const auto run = [&](auto decoder) {
      for (uint32_t row = 0; row < job.rows;) {
        row = decoder.Rows(row, stripe, c, trellis_state, words.at(), words.last_safe());
        if (row < job.rows && !words.EnterTail()) break;
      }
      states = decoder.states();
    };
    if (job.columns - stripe < kLanes) {
      run(StripeDecoder<kBits, kDType, true, kLast>(job, states));
    } else {
      run(StripeDecoder<kBits, kDType, false, kLast>(job, states));
    }
    if (words.overrun()) break;
  }
  _mm_sfence();  // non-temporal stores are visible before another thread is told
  return CheckRansEnd(states, words.finished());
}

}  // namespace

Status DecodeStreamAvx2(const StreamTileJob& job, const LaneStates& states, ByteSpan words) {
  return RunForJob(job, [&]<int kBits, DType kDType, StreamStage kLast>() {
    return DecodeTile<kBits, kDType, kLast>(job, states, words);
  });
}

}  // namespace nwc
