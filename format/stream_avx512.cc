// The AVX-512 decoder of `stream` chunks: the bits of the scalar one.
//
// The look-ups run in four vectors of eight lanes, as in AVX2: four short chains that wait for each
// other only at the words. What needs 16 bits only (table number, trellis state, index, level) is
// done once for all 32 lanes, as words: word 2i is lane i, word 2i + 1 lane 16 + i. What was tried
// before and lost is in tests/bench/README.md.
#include <immintrin.h>

#include <array>

#include "format/rans_avx2.h"
#include "format/stream_chunk.h"
#include "format/stream_dispatch.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

using avx2::RansVector;
using Words = std::array<uint16_t, kLanes>;

__m512i Load(const Words& words) { return _mm512_loadu_si512(words.data()); }

// mask ? a : b, bit by bit.
inline __m512i Select(__m512i mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi64(mask, a, b, 0xCA);
}

inline __m512i Join(__m256i a, __m256i b) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}
inline __m256i LowHalf(__m512i v) { return _mm512_castsi512_si256(v); }
inline __m256i HighHalf(__m512i v) { return _mm512_extracti64x4_epi64(v, 1); }

// A lane's trellis word: 2·state at bits 0-3, q at bit 4 and again where a table number has it.
constexpr uint16_t kQuantizerBit = 0x10;
constexpr __mmask32 kOddWords = 0xAAAAAAAA;

struct TileTables {
  __m512i next;  // by trellis word | parity of k, modulo 32
  __m512i less;  // 64·q + θ with the sign of k, by max(-2, min(k, 2)) modulo 16 | kQuantizerBit·q
};

TileTables MakeTables(const StreamTileJob& job, int bucket_bits) {
  Words next{}, less{};
  const Trellis& trellis = *job.trellis;
  for (size_t i = 0; i < 16; ++i) {
    if (static_cast<int>(i / 2) >= trellis.states) continue;
    const auto state = static_cast<size_t>(trellis.next[i]);
    const unsigned q = trellis.quantizer[state];
    next[i] = static_cast<uint16_t>(2 * state | (q * kQuantizerBit) | (q << bucket_bits));
    next[i + 16] = next[i];
  }
  for (int q = 0; q < kQuantizerCount; ++q) {
    for (int k = -2; k <= 2; ++k) {
      less[static_cast<size_t>((k & 15) | q * kQuantizerBit)] = static_cast<uint16_t>(
          2 * kOffsetUnit * k - ReconstructionLevel(k, q, job.offset1, job.offset2));
    }
  }
  return {Load(next), Load(less)};
}

// Everything of a stripe that its rows share.
struct StripeConstants {
  __m512i column_table;  // words
  __m512 low_factor, high_factor;
  __m256i active[4];  // all ones where the column exists
};

// Values of columns past the edge are zero: their lanes are inactive.
StripeConstants LoadStripe(const StreamTileJob& job, uint32_t stripe) {
  Words table{};
  alignas(64) std::array<float, kLanes> factor{};
  alignas(32) std::array<int32_t, kLanes> active{};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(static_cast<int>(lane)));
    if (column >= job.columns) continue;
    table[2 * (lane % 16) + lane / 16] = static_cast<uint16_t>(job.column_table[column]);
    factor[lane] = job.column_factors[column];
    active[lane] = -1;
  }
  StripeConstants c;
  c.column_table = Load(table);
  c.low_factor = _mm512_load_ps(&factor[0]);
  c.high_factor = _mm512_load_ps(&factor[16]);
  for (size_t v = 0; v < 4; ++v) {
    c.active[v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(&active[8 * v]));
  }
  return c;
}

// For each column of a line, the high word of its lane: vectors of lanes 0-15 and 16-31.
constexpr Words HighWordsInColumnOrder() {
  Words sources{};
  for (int lane = 0; lane < kLanes; ++lane) {
    sources[static_cast<size_t>(LanePosition(lane))] = static_cast<uint16_t>(2 * lane + 1);
  }
  return sources;
}
constexpr Words kHighWordsInColumnOrder = HighWordsInColumnOrder();

// Of 16 lanes (even columns, odd columns) in column order.
inline __m512 ColumnOrder(__m512 v) {
  return _mm512_permutexvar_ps(
      _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15), v);
}

inline void Store64(uint8_t* out, __m512i v, bool aligned) {
  if (aligned) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(out), v);
  } else {
    _mm512_storeu_si512(out, v);
  }
}

inline __m512i RoundToHighWords(__m512 value) {
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i lsb = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), lsb);
}

// A line of binary32 to the output dtype, in column order.
template <DType kDType>
inline void StoreLine(__m512 low, __m512 high, uint8_t* out, bool aligned) {
  if constexpr (kDType == DType::kF32) {
    Store64(out, _mm512_castps_si512(ColumnOrder(low)), aligned);
    Store64(out + 64, _mm512_castps_si512(ColumnOrder(high)), aligned);
  } else if constexpr (kDType == DType::kBF16) {
    Store64(out,
            _mm512_permutex2var_epi16(RoundToHighWords(low), Load(kHighWordsInColumnOrder),
                                      RoundToHighWords(high)),
            aligned);
  } else {
    const __m256i first = _mm512_cvtps_ph(ColumnOrder(low), _MM_FROUND_TO_NEAREST_INT);
    const __m256i second = _mm512_cvtps_ph(ColumnOrder(high), _MM_FROUND_TO_NEAREST_INT);
    Store64(out, _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1), aligned);
  }
}

template <int kBits, DType kDType, bool kPartial, StreamStage kLast>
class StripeDecoder {
 public:
  StripeDecoder(const StreamTileJob& job, const LaneStates& states)
      : job_(job), tables_(MakeTables(job, kBits)) {
    for (int v = 0; v < 4; ++v) x_[v] = avx2::LoadStates(states, v);
  }

  // Decodes rows from `row` on while a whole line's words are surely there, that is until words
  // pass `last_safe`; returns the row reached.
  uint32_t Rows(uint32_t row, uint32_t stripe, const StripeConstants& c, __m512i* state,
                const uint8_t** words, const uint8_t* last_safe) {
    constexpr size_t kSize = kDType == DType::kF32 ? 4 : 2;
    uint8_t* out = job_.out + row * job_.row_stride_bytes + stripe * kSize;
    const bool aligned =
        !kPartial && reinterpret_cast<uintptr_t>(out) % 64 == 0 && job_.row_stride_bytes % 64 == 0;
    __m256i x[4] = {x_[0], x_[1], x_[2], x_[3]};
    __m512i s = *state;
    const uint8_t* at = *words;
    for (; row < job_.rows && at <= last_safe; ++row, out += job_.row_stride_bytes) {
      const __m512i k = Indices(TableOffsets(c, row, s), c, x, &at);
      const __m512i before = s;
      if constexpr (kLast >= StreamStage::kTrellis) {
        s = _mm512_permutexvar_epi16(Select(_mm512_set1_epi16(1), k, s), tables_.next);
      }
      if constexpr (kLast < StreamStage::kScale) {
        Keep(k);
      } else {
        StoreWeights(c, Levels(k, before), row, stripe, out, aligned);
      }
    }
    for (int v = 0; v < 4; ++v) x_[v] = x[v];
    *state = s;
    *words = at;
    return row;
  }

  [[nodiscard]] LaneStates states() const {
    LaneStates states;
    for (int v = 0; v < 4; ++v) avx2::StoreStates(x_[v], v, &states);
    return states;
  }

 private:
  // A result that a shorter measurement ends with.
  static void Keep(__m512i v) { asm volatile("" : : "v"(v)); }

  // Offsets of the tables (t, q), as words.
  [[nodiscard]] __m512i TableOffsets(const StripeConstants& c, uint32_t row, __m512i state) const {
    const __m512i t = _mm512_min_epi16(
        _mm512_max_epi16(_mm512_add_epi16(_mm512_set1_epi16(job_.row_table[row]), c.column_table),
                         _mm512_setzero_si512()),
        _mm512_set1_epi16(kTableCount - 1));
    const __m512i even = _mm512_mullo_epi16(t, _mm512_set1_epi16(2 << kBits));
    return Select(_mm512_set1_epi16(1 << kBits), state, even);
  }

  // Decodes a line: its k as words.
  __m512i Indices(__m512i offsets, const StripeConstants& c, __m256i x[4],
                  const uint8_t** words) const {
    const __m512i low = _mm512_and_si512(offsets, _mm512_set1_epi32(0xFFFF));
    const __m512i high = _mm512_srli_epi32(offsets, 16);
    const __m256i base[4] = {LowHalf(low), HighHalf(low), LowHalf(high), HighHalf(high)};
    __m256i word[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      word[v] = RansVector<kBits>::Step(job_.tables, base[v], x[v], &x[v], c.active[v], kPartial);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) x[v] = avx2::Renormalize(x[v], words);
    // k is the byte at bits 12-19; here it becomes the top byte of a word.
    const __m512i even = _mm512_srli_epi32(Join(word[0], word[1]), 4);
    const __m512i odd = _mm512_slli_epi32(Join(word[2], word[3]), 12);
    return _mm512_srai_epi16(_mm512_mask_mov_epi16(even, kOddWords, odd), 8);
  }

  // 128·k less what its sign, magnitude and quantiser take from it.
  [[nodiscard]] __m512i Levels(__m512i k, __m512i state) const {
    const __m512i clipped =
        _mm512_min_epi16(_mm512_max_epi16(k, _mm512_set1_epi16(-2)), _mm512_set1_epi16(2));
    const __m512i which = Select(_mm512_set1_epi16(kQuantizerBit), state, clipped);
    return _mm512_sub_epi16(_mm512_mullo_epi16(k, _mm512_set1_epi16(2 * kOffsetUnit)),
                            _mm512_permutexvar_epi16(which, tables_.less));
  }

  void StoreWeights(const StripeConstants& c, __m512i level, uint32_t row, uint32_t stripe,
                    uint8_t* out, bool aligned) const {
    constexpr size_t kSize = kDType == DType::kF32 ? 4 : 2;
    const __m512 row_step = _mm512_set1_ps(job_.row_steps[row]);
    // A product with (1, 0) or (0, 1) widens a word and leaves the shift units free.
    const __m512 even = _mm512_cvtepi32_ps(_mm512_madd_epi16(level, _mm512_set1_epi32(1)));
    const __m512 odd = _mm512_cvtepi32_ps(_mm512_madd_epi16(level, _mm512_set1_epi32(0x10000)));
    const __m512 low = _mm512_mul_ps(_mm512_mul_ps(even, c.low_factor), row_step);
    const __m512 high = _mm512_mul_ps(_mm512_mul_ps(odd, c.high_factor), row_step);
    if constexpr (kLast == StreamStage::kScale) {
      Keep(_mm512_castps_si512(low));
      Keep(_mm512_castps_si512(high));
    } else if constexpr (kPartial) {
      alignas(64) uint8_t line[kLanes * kSize];
      StoreLine<kDType>(low, high, line, false);
      std::memcpy(out, line, (job_.columns - stripe) * kSize);
    } else {
      StoreLine<kDType>(low, high, out, aligned);
    }
  }

  const StreamTileJob& job_;
  const TileTables tables_;
  __m256i x_[4];
};

template <int kBits, DType kDType, StreamStage kLast>
Status DecodeTile(const StreamTileJob& job, const LaneStates& first_states, ByteSpan bytes) {
  PaddedWords words(bytes);
  LaneStates states = first_states;
  for (uint32_t stripe = 0; stripe < job.columns; stripe += kLanes) {
    const StripeConstants c = LoadStripe(job, stripe);
    __m512i trellis_state = _mm512_set1_epi16(static_cast<int16_t>(
        (job.trellis->quantizer[0] * kQuantizerBit) | (job.trellis->quantizer[0] << kBits)));
    const auto run = [&](auto decoder) {
      for (uint32_t row = 0; row < job.rows;) {
        row = decoder.Rows(row, stripe, c, &trellis_state, words.at(), words.last_safe());
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

Status DecodeStreamAvx512(const StreamTileJob& job, const LaneStates& states, ByteSpan words) {
  return RunForJob(job, [&]<int kBits, DType kDType, StreamStage kLast>() {
    return DecodeTile<kBits, kDType, kLast>(job, states, words);
  });
}

}  // namespace nwc
