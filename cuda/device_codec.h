// What chunks are decoded with, in device memory: a codec's tables and net, shared by tensors, and
// a tensor's side information.
#pragma once

#include <array>
#include <memory>

#include "cuda/decode_jobs.h"
#include "cuda/device_memory.h"
#include "cuda/tensor_facts.h"
#include "format/format.h"

namespace nwc {

// The codec of `stream` tensors.
class DeviceStreamTables {
 public:
  // Usable by what follows on `stream`, as all of this file.
  static Result<std::shared_ptr<const DeviceStreamTables>> Upload(
      DeviceRuntime* runtime, std::shared_ptr<const StreamTables> tables, DeviceStream stream);
  [[nodiscard]] const AliasBucket* buckets(int bucket_bits) const {
    return by_bits_[static_cast<size_t>(bucket_bits - kMinBucketBits)].as<AliasBucket>();
  }
  [[nodiscard]] const CodecTables& tables() const { return host_->tables(); }

 private:
  std::shared_ptr<const StreamTables> host_;
  std::array<DeviceBuffer, kMaxBucketBits - kMinBucketBits + 1> by_bits_;
};

// The codec of `nwc` tensors.
class DeviceNeuralCodec {
 public:
  // kUnsupported when the net takes more shared memory than the device gives a block.
  static Status CheckFits(const DeviceRuntime& runtime, const NeuralSettings& settings);
  // Checks that, too.
  static Result<std::shared_ptr<const DeviceNeuralCodec>> Upload(DeviceRuntime* runtime,
                                                                 const NeuralCodec& codec,
                                                                 DeviceStream stream);
  [[nodiscard]] const NeuralSettings& settings() const { return settings_; }
  // Sets what a job takes from its codec.
  void Describe(NeuralJob* job) const;

 private:
  NeuralSettings settings_;
  DeviceBuffer parameters_, tensor_weights_, tables_, buckets_;
};

// The codec of a tensor: `stream` for stream, `neural` for nwc, neither for raw and exact.
struct DeviceCodec {
  std::shared_ptr<const DeviceStreamTables> stream;
  std::shared_ptr<const DeviceNeuralCodec> neural;
};

// One tensor: its codec and what is known of its rows and columns. Immutable.
class DeviceTensorDecoder {
 public:
  // `memory`: FactBytes on the device at a multiple of 16, which has the facts once `stream` comes
  // to it; it and `tensor` outlive the decoder. kUnsupported for a profile that is not known.
  static Result<std::unique_ptr<DeviceTensorDecoder>> Create(DeviceRuntime* runtime,
                                                             const TensorInfo& tensor,
                                                             TensorFacts facts, DeviceCodec codec,
                                                             DeviceAddress memory,
                                                             DeviceStream stream);

  [[nodiscard]] const TensorInfo& tensor() const { return *tensor_; }
  [[nodiscard]] const DeviceCodec& codec() const { return codec_; }

  // Jobs for chunk `number` of the tensor, without what is the same for all profiles (ChunkJob).
  [[nodiscard]] StreamJob MakeStreamJob(size_t number, TableReach* reach) const;
  [[nodiscard]] NeuralJob MakeNeuralJob(size_t number) const;

 private:
  const TensorInfo* tensor_ = nullptr;
  DeviceCodec codec_;
  std::vector<TableReach> row_reach_, column_reach_;  // as in TensorFacts
  DeviceAddress facts_;                               // TensorFacts::bytes
};

}  // namespace nwc
