#include "format/exact_codec.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>

#include "format/chunk_parts.h"
#include "format/exact_chunk.h"
#include "format/normalize.h"

namespace nwc {
namespace {

// An element rotated left by one bit: exponent first, sign last.
template <typename Word>
Word Rotated(const uint8_t* element) {
  return std::rotl(LoadLittle<Word>(element), 1);
}

std::vector<uint8_t> Symbols(ByteSpan elements, bool wide) {
  const size_t size = wide ? 4 : 2;
  std::vector<uint8_t> symbols(elements.size() / size);
  for (size_t i = 0; i < symbols.size(); ++i) {
    const uint8_t* p = &elements[i * size];
    symbols[i] =
        static_cast<uint8_t>(wide ? Rotated<uint32_t>(p) >> 24 : Rotated<uint16_t>(p) >> 8);
  }
  return symbols;
}

std::vector<uint16_t> Frequencies(const std::vector<uint8_t>& symbols) {
  std::vector<uint64_t> counts(kExactSymbols, 0);
  for (const uint8_t s : symbols) ++counts[s];
  // rANS needs two symbols: a neighbour joins a symbol that is alone.
  const auto present =
      std::count_if(counts.begin(), counts.end(), [](uint64_t c) { return c != 0; });
  if (present == 1) counts[symbols[0] ^ 1u] = 1;
  return NormalizeFrequencies(counts, 1);
}

// Whole lines of 32; the last may be shorter.
std::vector<uint16_t> CodeSymbols(const std::vector<uint8_t>& symbols,
                                  const std::vector<uint16_t>& frequencies, LaneStates* states) {
  const EncodeTable table = BuildEncodeTable(frequencies, kExactBucketBits);
  std::vector<uint16_t> words;
  words.reserve(symbols.size() / 4);
  const size_t lines = DivideRoundingUp(symbols.size(), kLanes);
  for (size_t line = lines; line-- > 0;) {
    for (int lane = kLanes; lane-- > 0;) {
      const size_t at = line * kLanes + static_cast<size_t>(LanePosition(lane));
      if (at < symbols.size()) {
        EncodeSymbol(table, symbols[at], &(*states)[static_cast<size_t>(lane)], &words);
      }
    }
  }
  std::reverse(words.begin(), words.end());
  return words;
}

void AppendLowBits(ByteSpan elements, bool wide, std::vector<uint8_t>* out) {
  const size_t n = elements.size() / (wide ? 4 : 2);
  size_t at = out->size();
  out->resize(at + n * (wide ? 3 : 1));
  if (wide) {
    for (size_t i = 0; i < n; ++i, at += 2) {
      StoreLittle(&(*out)[at], static_cast<uint16_t>(Rotated<uint32_t>(&elements[4 * i]) & 0xFFFF));
    }
  }
  for (size_t i = 0; i < n; ++i, ++at) {
    (*out)[at] = static_cast<uint8_t>(wide ? Rotated<uint32_t>(&elements[4 * i]) >> 16 & 0xFF
                                           : Rotated<uint16_t>(&elements[2 * i]) & 0xFF);
  }
}

Status Malformed(int rule, const char* what) {
  return Status::Corrupt(rule, std::string("exact chunk ") + what);
}

// Reads the table at `chunk`; sets how many bytes it took.
Status ParseTable(ByteSpan chunk, ExactChunkView* view, size_t* table_bytes) {
  std::array<uint16_t, kExactSymbols> frequencies{};
  const ByteSpan present = chunk.subspan(kExactHeaderBytes - 32, 32);
  size_t at = kExactHeaderBytes;
  uint32_t sum = 0;
  for (size_t s = 0; s < kExactSymbols; ++s) {
    if ((present[s >> 3] >> (s & 7) & 1) == 0) continue;
    if (chunk.size() - at < 2) return Malformed(27, "is shorter than its table");
    frequencies[s] = LoadLittle<uint16_t>(&chunk[at]);
    at += 2;
    if (frequencies[s] == 0 || frequencies[s] >= kProbabilityScale) {
      return Malformed(28, "has a frequency out of range");
    }
    sum += frequencies[s];
  }
  if (sum != kProbabilityScale) return Malformed(28, "has frequencies that do not sum to 4096");
  BuildAliasTable(frequencies, kExactBucketBits, 0, view->table);
  *table_bytes = at - kExactHeaderBytes;
  return {};
}

Result<ExactChunkView> ParseExactChunk(ByteSpan chunk, DType dtype, size_t elements) {
  if (chunk.size() < kExactHeaderBytes) return Malformed(27, "is shorter than its header");
  ExactChunkView view;
  const uint64_t word_bytes = uint64_t{LoadLittle<uint32_t>(&chunk[0])} * 2;
  std::memcpy(view.states.data(), &chunk[4], sizeof view.states);
  size_t table_bytes = 0;
  NWC_RETURN_IF_ERROR(ParseTable(chunk, &view, &table_bytes));
  const uint64_t low16_bytes = dtype == DType::kF32 ? uint64_t{elements} * 2 : 0;
  uint64_t at = kExactHeaderBytes + table_bytes;
  const uint64_t end = at + word_bytes + low16_bytes + elements;
  if (AlignUp(end, 4) != chunk.size())
    return Malformed(27, "has parts that do not add up to its size");
  for (uint64_t i = end; i < chunk.size(); ++i) {
    if (chunk[i] != 0) return Malformed(27, "has padding that is not zero");
  }
  view.words = chunk.subspan(at, word_bytes);
  view.low16 = chunk.subspan(at += word_bytes, low16_bytes);
  view.low8 = chunk.subspan(at + low16_bytes, elements);
  NWC_RETURN_IF_ERROR(CheckFirstStates(view.states));
  return view;
}

}  // namespace

std::vector<uint8_t> EncodeExactChunk(ByteSpan elements, DType dtype) {
  const bool wide = dtype == DType::kF32;
  const auto symbols = Symbols(elements, wide);
  const auto frequencies = Frequencies(symbols);
  LaneStates states = InitialLaneStates();
  const auto words = CodeSymbols(symbols, frequencies, &states);
  std::vector<uint8_t> out(kExactHeaderBytes, 0);
  StoreLittle(&out[0], static_cast<uint32_t>(words.size()));
  std::memcpy(&out[4], states.data(), sizeof states);
  const auto append = [&out](uint16_t v) {
    out.push_back(static_cast<uint8_t>(v & 0xFF));
    out.push_back(static_cast<uint8_t>(v >> 8));
  };
  for (size_t s = 0; s < kExactSymbols; ++s) {
    if (frequencies[s] == 0) continue;
    uint8_t& byte = out[kExactHeaderBytes - 32 + s / 8];
    byte = static_cast<uint8_t>(byte | 1u << (s & 7));
  }
  for (const uint16_t f : frequencies) {
    if (f != 0) append(f);
  }
  for (const uint16_t w : words) append(w);
  AppendLowBits(elements, wide, &out);
  out.resize(AlignUp(out.size(), 4), 0);
  return out;
}

Status DecodeExactScalar(const ExactChunkView& view, DType dtype, MutableByteSpan out) {
  const bool wide = dtype == DType::kF32;
  const size_t n = view.low8.size();
  LaneStates states = view.states;
  WordReader words(view.words);
  for (size_t line = 0; line < n; line += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const size_t i = line + static_cast<size_t>(LanePosition(lane));
      if (i >= n) continue;
      const uint32_t symbol =
          DecodeSymbol(view.table.data(), kExactBucketBits, &states[static_cast<size_t>(lane)]);
      if (wide) {
        const uint32_t rotated = symbol << 24 | static_cast<uint32_t>(view.low8[i]) << 16 |
                                 LoadLittle<uint16_t>(&view.low16[2 * i]);
        StoreLittle(&out[4 * i], std::rotr(rotated, 1));
      } else {
        const auto rotated = static_cast<uint16_t>(symbol << 8 | view.low8[i]);
        StoreLittle(&out[2 * i], std::rotr(rotated, 1));
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      uint32_t& x = states[static_cast<size_t>(lane)];
      if (line + static_cast<size_t>(LanePosition(lane)) < n && x < kRansLow) {
        x = x << 16 | words.Next();
      }
    }
    if (words.overrun()) break;
  }
  return CheckRansEnd(states, words.finished());
}

Status DecodeExactChunk(ByteSpan chunk, DType dtype, MutableByteSpan out, Simd simd) {
  NWC_ASSIGN_OR_RETURN(const ExactChunkView view,
                       ParseExactChunk(chunk, dtype, out.size() / DTypeSize(dtype)));
  return simd >= Simd::kAvx2 ? DecodeExactAvx2(view, dtype, out)
                             : DecodeExactScalar(view, dtype, out);
}

}  // namespace nwc
