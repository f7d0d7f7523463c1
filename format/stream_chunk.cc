#include "format/stream_chunk.h"

#include <algorithm>
#include <string>

#include "format/chunk_parts.h"

namespace nwc {
namespace {

Status Malformed(const char* what) {
  return Status::Corrupt(23, std::string("stream chunk ") + what);
}

}  // namespace

std::vector<uint8_t> SerializeStreamChunk(const StreamChunkHeader& header,
                                          std::span<const uint16_t> words, const StreamTile& tile) {
  std::vector<uint8_t> out(kStreamHeaderBytes, 0);
  out.reserve(kStreamHeaderBytes + 2 * words.size() + 16 + tile.exact_values.size() +
              4 * tile.patches.size() + tile.patch_values.size());
  out[0] = header.bucket_bits;
  StoreLittle(&out[2], header.exact_columns);
  StoreLittle(&out[4], header.patches);
  StoreLittle(&out[8], header.words);
  std::memcpy(&out[12], header.states.data(), sizeof header.states);
  AppendAll(words, &out);
  AppendAll(std::span<const uint16_t>(tile.exact_columns), &out);
  PadChunk(&out);
  AppendAll(std::span<const uint32_t>(tile.patches), &out);
  AppendAll(std::span<const uint8_t>(tile.exact_values), &out);
  AppendAll(std::span<const uint8_t>(tile.patch_values), &out);
  PadChunk(&out);
  return out;
}

Result<StreamChunkView> ParseStreamChunk(ByteSpan chunk, uint64_t rows, uint64_t columns,
                                         size_t element_bytes) {
  StreamChunkView view;
  StreamChunkHeader& h = view.header;
  ChunkCutter cutter(chunk);
  ByteSpan fixed;
  if (!cutter.Take(kStreamHeaderBytes, &fixed)) return Malformed("is shorter than its header");
  h.bucket_bits = fixed[0];
  h.exact_columns = LoadLittle<uint16_t>(&fixed[2]);
  h.patches = LoadLittle<uint32_t>(&fixed[4]);
  h.words = LoadLittle<uint32_t>(&fixed[8]);
  std::memcpy(h.states.data(), &fixed[12], sizeof h.states);
  if (h.bucket_bits < kMinBucketBits || h.bucket_bits > kMaxBucketBits || fixed[1] != 0 ||
      h.exact_columns > columns || h.patches > rows * columns) {
    return Malformed("has a header out of range");
  }
  // rows · columns ≤ 2^20 and element_bytes ≤ 4: no product below overflows.
  if (!cutter.Take(uint64_t{h.words} * 2, &view.words) ||
      !cutter.Take(uint64_t{h.exact_columns} * 2, &view.column_ids) || !cutter.Pad() ||
      !cutter.Take(uint64_t{h.patches} * 4, &view.patch_ids) ||
      !cutter.Take(element_bytes * rows * h.exact_columns, &view.column_values) ||
      !cutter.Take(element_bytes * h.patches, &view.patch_values) || !cutter.Pad() ||
      !cutter.done()) {
    return Malformed("has parts that do not add up to its size");
  }
  if (!StrictlyAscendingBelow<uint16_t>(view.column_ids, columns) ||
      !StrictlyAscendingBelow<uint32_t>(view.patch_ids, rows * columns)) {
    return Status::Corrupt(25, "exact columns or patches out of order or outside the tile");
  }
  return view;
}

TableSpan TableSpanOf(std::span<const int16_t> row_table, std::span<const int16_t> column_table) {
  const auto [row_low, row_high] = std::minmax_element(row_table.begin(), row_table.end());
  const auto [col_low, col_high] = std::minmax_element(column_table.begin(), column_table.end());
  return TableSpanOf(TableSpan{*row_low, *row_high}, TableSpan{*col_low, *col_high});
}

TableSpan TableSpanOf(const TableSpan& row_codes, const TableSpan& column_codes) {
  return {std::clamp(row_codes.low + column_codes.low, 0, kTableCount - 1),
          std::clamp(row_codes.high + column_codes.high, 0, kTableCount - 1)};
}

}  // namespace nwc
