// Writes a container: metadata files, tensors in order, index, and at last the superblock, without
// which the file is not a container (spec/format.md). No I/O of its own: bytes go to a ByteSink.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/index.h"
#include "format/status.h"

namespace nwc {

// Where a container goes. Append adds at the end; Commit replaces the first bytes and makes the
// whole durable. Nothing is visible under its final name before Commit succeeds.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Status Append(ByteSpan bytes) = 0;
  virtual Status Commit(ByteSpan first_bytes) = 0;
};

// Not thread-safe. After an error the writer is of no further use.
class ContainerWriter {
 public:
  explicit ContainerWriter(ByteSink* sink);  // not owned

  // Before the first tensor and the first neural codec.
  Status AddFile(std::string name, ByteSpan content);
  uint16_t AddCodec(CodecInfo codec);
  uint16_t AddShard(ShardInfo shard);
  // After all files and before the first tensor; its position in the index. kUsage as
  // SerializeNeuralCodec says.
  Result<uint16_t> AddNeuralCodec(const NeuralCodec& codec);

  // `tensor` with everything but chunks and extents filled in; `chunks` its coded tiles in grid
  // order; `side` its side information (stream and nwc). The whole tensor at once: its size decides
  // its alignment.
  Status AddTensor(TensorInfo tensor, ByteSpan side, std::span<const std::vector<uint8_t>> chunks);

  void SetProducer(std::string producer) { index_.producer = std::move(producer); }
  void SetOptions(std::string json) { index_.options = std::move(json); }

  // Index and superblock; commits the sink.
  Status Finish();

  [[nodiscard]] const Index& index() const { return index_; }
  [[nodiscard]] uint64_t bytes_written() const { return offset_; }

 private:
  Status Append(ByteSpan bytes);
  Status PadTo(uint64_t alignment);
  Result<Extent> AppendExtent(ByteSpan bytes);

  ByteSink* sink_;
  Index index_;
  uint64_t offset_ = 0;
  bool begun_ = false;
};

}  // namespace nwc
