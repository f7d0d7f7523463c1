// The encoding half of spec/codec.md section 7: indices to bytes. Decoding order is recorded
// forwards as (lane, table, symbol), then coded backwards.
#include <algorithm>
#include <array>

#include "format/rans.h"
#include "format/stream_chunk.h"
#include "format/stream_codec.h"
#include "format/trellis.h"

namespace nwc {

struct StreamEncodeTables::Impl {
  CodecTables tables;
  // [bucket_bits - 6][2t+q]; empty where the alphabet does not fit.
  std::array<std::vector<EncodeTable>, kMaxBucketBits - kMinBucketBits + 1> built;
};

StreamEncodeTables::StreamEncodeTables(const CodecTables& tables)
    : impl_(std::make_unique<Impl>()) {
  impl_->tables = tables;
  for (int bits = kMinBucketBits; bits <= kMaxBucketBits; ++bits) {
    auto& row = impl_->built[static_cast<size_t>(bits - kMinBucketBits)];
    const int half = (1 << (bits - 1)) - 1;
    for (int t = 0; t < kTableCount; ++t) {
      for (int q = 0; q < kQuantizerCount; ++q) {
        row.push_back(tables.alphabet(t, q) > half
                          ? EncodeTable{}
                          : BuildEncodeTable(StreamSymbolFrequencies(tables, t, q, bits), bits));
      }
    }
  }
}

StreamEncodeTables::~StreamEncodeTables() = default;

const EncodeTable& StreamEncodeTables::table(int bucket_bits, int t, int q) const {
  return impl_
      ->built[static_cast<size_t>(bucket_bits - kMinBucketBits)][static_cast<size_t>(2 * t + q)];
}

const CodecTables& StreamEncodeTables::tables() const { return impl_->tables; }

namespace {

struct CodedSymbol {
  uint8_t lane;
  uint8_t table;  // 2t + q
  int8_t k;
};

std::vector<CodedSymbol> DecodingOrder(const StreamTile& tile, const Trellis& trellis,
                                       std::span<const int16_t> row_table,
                                       std::span<const int16_t> column_table) {
  std::vector<CodedSymbol> order;
  order.reserve(tile.indices.size());
  for (uint32_t stripe = 0; stripe < tile.columns; stripe += kLanes) {
    std::array<int, kLanes> state{};
    for (uint32_t row = 0; row < tile.rows; ++row) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(lane));
        if (column >= tile.columns) continue;
        const int k = tile.indices[size_t{row} * tile.columns + column];
        const int t = std::clamp(row_table[row] + column_table[column], 0, kTableCount - 1);
        int& s = state[static_cast<size_t>(lane)];
        order.push_back({static_cast<uint8_t>(lane),
                         static_cast<uint8_t>(2 * t + trellis.Quantizer(s)),
                         static_cast<int8_t>(k)});
        s = trellis.Next(s, k);
      }
    }
  }
  return order;
}

// Words come out last first; returns them in reading order.
std::vector<uint16_t> CodeBackwards(const std::vector<CodedSymbol>& order, int bucket_bits,
                                    const StreamEncodeTables& tables, LaneStates* states) {
  const int half = (1 << (bucket_bits - 1)) - 1;
  std::vector<uint16_t> words;
  words.reserve(order.size() / 3);
  // Within a line the decoder looks up all lanes before it reads words in lane order; a lane reads
  // at most one word a line, so coding lane by lane backwards gives the same order.
  for (size_t i = order.size(); i-- > 0;) {
    const CodedSymbol& c = order[i];
    EncodeSymbol(tables.table(bucket_bits, c.table >> 1, c.table & 1),
                 static_cast<uint32_t>(c.k + half), &(*states)[c.lane], &words);
  }
  std::reverse(words.begin(), words.end());
  return words;
}

}  // namespace

std::vector<uint8_t> EncodeStreamChunk(const StreamTile& tile, int trellis,
                                       std::span<const int16_t> row_table,
                                       std::span<const int16_t> column_table,
                                       const StreamEncodeTables& tables) {
  const TableSpan span = TableSpanOf(row_table, column_table);
  StreamChunkHeader header;
  header.bucket_bits = static_cast<uint8_t>(tables.tables().BucketBits(span.low, span.high));
  header.states = InitialLaneStates();
  const auto order =
      DecodingOrder(tile, kTrellises[static_cast<size_t>(trellis)], row_table, column_table);
  const auto words = CodeBackwards(order, header.bucket_bits, tables, &header.states);
  header.words = static_cast<uint32_t>(words.size());
  header.exact_columns = static_cast<uint16_t>(tile.exact_columns.size());
  header.patches = static_cast<uint32_t>(tile.patches.size());
  return SerializeStreamChunk(header, words, tile);
}

}  // namespace nwc
