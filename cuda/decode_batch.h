// Chunks that are decoded together: from index and bytes to the jobs of a few launches.
//
//   DecodeBatch batch(runtime->max_shared_bytes(), arithmetic);
//   batch.Add(chunk);                             // for each
//   batch.Describe(pinned, in_device_memory);     // then copy description_bytes() there
//   batch.Launch(runtime, stream);
//   …copy batch.rules_bytes() back; when they are there: batch.Check(pinned)
#pragma once

#include <span>
#include <vector>

#include "cuda/device_codec.h"
#include "cuda/device_runtime.h"
#include "loader/tensor_slice.h"

namespace nwc {

struct BatchChunk {
  const DeviceTensorDecoder* decoder = nullptr;
  size_t number = 0;      // in the tensor
  ByteSpan host_bytes;    // the chunk, of which Add reads kHostBytes
  DeviceAddress bytes;    // where the same bytes will be, at a multiple of 4
  TensorSlice slice;      // what is wanted of the tensor, resolved; the tile has a part of it
  DeviceAddress out;      // of the slice, rows packed, at a multiple of the element's size
  DeviceAddress latents;  // LatentBytes of scratch for nwc, at a multiple of 4
};

// How the net of `nwc` runs. kTensorCores needs a net of at most 16 latents and weights a chunk
// whose width is a multiple of 16 up to 512; others run in kSpecified.
enum class NeuralArithmetic : uint8_t { kSpecified, kTensorCores };

class DecodeBatch {
 public:
  static constexpr size_t kDescriptionAlignment = 16;
  static constexpr size_t kLatentAlignment = 16;
  static constexpr size_t kHostBytes = 1;  // of a chunk, that the host must have

  // A device that gives a block `max_shared_bytes` of shared memory.
  DecodeBatch(size_t max_shared_bytes, NeuralArithmetic arithmetic);

  void Add(const BatchChunk& chunk);
  [[nodiscard]] size_t chunk_count() const { return chunks_.size(); }

  // Of any batch of that many chunks, at most.
  static size_t MaxDescriptionBytes(size_t chunk_count);
  // Device memory for the latents of one chunk of a tensor; 0 unless it is nwc.
  static size_t LatentBytes(const DeviceTensorDecoder& decoder, size_t number);
  static size_t LatentBytes(const TensorInfo& tensor, const NeuralSettings& settings,
                            size_t number);

  // Writes the description to `out` (a multiple of 16, MaxDescriptionBytes long). `device`: where
  // the same bytes will be, at a multiple of 16.
  void Describe(MutableByteSpan out, DeviceAddress device);
  [[nodiscard]] size_t description_bytes() const { return description_bytes_; }
  // The description begins with one rule a chunk, which the kernels set.
  [[nodiscard]] size_t rules_bytes() const { return sizeof(uint32_t) * chunks_.size(); }

  // The description, the bytes and the decoders are there when the stream comes to it.
  Status Launch(DeviceRuntime* runtime, DeviceStream stream) const;

  // The first broken rule, if any, with the chunk named. `rules`: as copied back.
  [[nodiscard]] Status Check(const uint8_t* rules) const;

 private:
  struct Chunk {
    const TensorInfo* tensor;
    size_t number;
  };
  // rule_index: position of the chunk, and so of its rule.
  struct StreamEntry {
    uint32_t rule_index;
    const DeviceTensorDecoder* decoder;
    StreamJob job;
    int bucket_bits;
    const AliasBucket* tables;  // of these
    TableReach reach;
  };
  template <typename Job>
  struct Entry {
    uint32_t rule_index;
    DType dtype;
    Job job;
  };

  [[nodiscard]] StreamBlock MakeStreamBlock(std::span<const StreamEntry> entries) const;
  void DescribeStream(MutableByteSpan out, DeviceAddress device, size_t* at);
  template <typename Job>
  const Job* PlaceJobs(std::vector<Entry<Job>>* entries, MutableByteSpan out, DeviceAddress device,
                       size_t* at);
  void DescribeExact(MutableByteSpan out, DeviceAddress device, size_t* at);
  void DescribeNeural(MutableByteSpan out, DeviceAddress device, size_t* at);

  const NeuralArithmetic arithmetic_;
  const uint32_t window_bytes_;  // of tables, for a block
  std::vector<Chunk> chunks_;
  std::vector<RowCopy> raw_;
  std::vector<StreamEntry> stream_;
  std::vector<Entry<ExactJob>> exact_;
  std::vector<Entry<NeuralJob>> neural_;
  std::vector<DecodeLaunch> launches_;
  size_t description_bytes_ = 0;
};

}  // namespace nwc
