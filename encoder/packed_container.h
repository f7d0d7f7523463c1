// A finished container as the encoder sees a checkpoint, and its copy with a few things changed.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "encoder/coded_tensor.h"
#include "encoder/recovery.h"
#include "encoder/worker_pool.h"
#include "format/format.h"

namespace nwc {

// Fills `out` from byte `offset` of the file.
using RangeReader = std::function<Status(uint64_t offset, MutableByteSpan out)>;

// Some tensors of a container, to be written as a container by themselves.
struct ContainerPart {
  std::vector<size_t> tensors;  // in file order
  bool files = false;           // the metadata files, too
  std::string options;          // in place of the container's
};

class PackedContainer : public TunableModel {
 public:
  // `read` must work while the object lives. `threads` decode; 0: one a core. Checks the rules of
  // spec/format.md that opening a file checks, and the others when a tensor is read.
  static Result<std::unique_ptr<PackedContainer>> Open(RangeReader read, uint64_t file_bytes,
                                                       int threads);

  [[nodiscard]] const Index& index() const { return index_; }
  [[nodiscard]] const std::vector<SourceTensor>& tensors() const override { return tensors_; }
  [[nodiscard]] const std::vector<ShardInfo>& shards() const override { return index_.shards; }
  Status Read(size_t tensor, MutableByteSpan destination) const override;
  [[nodiscard]] bool HasRowGains(size_t tensor) const override;
  Status ReadScaled(size_t tensor, std::span<const int16_t> gains,
                    MutableByteSpan destination) const override;

  // The same container with new gains and vectors; all chunks of other tensors are copied. Gives
  // the index of what was written. Memory: the largest tensor, decoded and stored.
  Result<Index> Rewrite(const Recovered& changes, ByteSink* sink) const;

  // A container of `part`: tensors as they are stored, all of Index::shards, and of the codecs
  // those that these tensors need. Memory as above.
  Result<Index> WritePart(const ContainerPart& part, ByteSink* sink) const;

 private:
  struct Stored {  // a tensor as it lies in the file
    TensorInfo info;
    std::vector<uint8_t> side;
    std::vector<std::vector<uint8_t>> chunks;
  };
  PackedContainer(RangeReader read, int threads) : read_(std::move(read)), pool_(threads) {}
  Status Load(uint64_t file_bytes);
  Result<std::vector<uint8_t>> Bytes(uint64_t offset, uint64_t size) const;
  Result<Stored> ReadStored(size_t tensor) const;
  Status Decode(const Stored& stored, MutableByteSpan destination) const;
  Status CopyFiles(ContainerWriter* writer) const;
  Status CopyOuter(ContainerWriter* writer) const;
  Status CopyTensor(size_t tensor, const Recovered& changes, ContainerWriter* writer) const;

  const RangeReader read_;
  mutable WorkerPool pool_;
  mutable std::mutex pool_in_use_;
  Index index_;
  std::vector<SourceTensor> tensors_;
  std::vector<std::shared_ptr<const StreamTables>> tables_;              // a codec each
  std::vector<NeuralCodec> neural_;                                      // as read
  std::vector<std::shared_ptr<const NeuralDecodeCodec>> neural_decode_;  // the same, for decoding
};

}  // namespace nwc
