// Opens containers and brings tensors into memory: reads, checks and decodes at the same time.
//
//   NWC_ASSIGN_OR_RETURN(auto loader, Loader::Open("model.nwc", {}));
//   NWC_ASSIGN_OR_RETURN(Tensor weight, loader->Load("model.norm.weight"));
//   NWC_ASSIGN_OR_RETURN(Tensor rows, loader->Load("lm_head.weight", {.row_end = 64}));
//
// A Loader is immutable after Open; its methods may be called from many threads at once. Tensors
// own their memory and outlive the loader.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/format.h"
#include "loader/aligned_buffer.h"
#include "loader/http_url.h"  // IWYU pragma: export
#include "loader/remote_options.h"
#include "loader/tensor_slice.h"

namespace nwc {

// kAuto: io_uring, or pread where the system refuses it. kUring: io_uring or kIo.
enum class IoMode : uint8_t { kAuto, kUring, kPread };

// NWC_IO=pread or NWC_IO=uring in the environment decides for kAuto. Bytes in memory are copied,
// whatever `io` says.
struct LoadOptions {
  IoMode io = IoMode::kAuto;
  // Most compressed bytes in flight in one call; at least the largest chunk wanted (else kUsage).
  // Slices need also memory for one decoded tile a thread.
  size_t staging_bytes = 64 << 20;
  int threads = 0;              // decoding threads; 0: one a core
  bool verify = true;           // check every chunk's hash (R20, R21); R34 is always checked
  bool verify_decoded = false;  // check whole tensors' decoded hash too (R29); slices have none
  Simd simd = BestSimd();
  RemoteOptions remote;  // for http:// and https://
};

struct Tensor {
  TensorInfo info;      // a copy: valid after the loader is gone; its chunk list is left empty
  size_t number = 0;    // position in the index
  TensorSlice slice;    // which part `bytes` holds, without kEnd; info describes the whole tensor
  AlignedBuffer bytes;  // decoded, row-major, little-endian; 64-byte aligned
};

// What a load did, for reports.
struct LoadStatistics {
  // From the file, without the index; with neural codecs that this call was the first to need.
  uint64_t bytes_read = 0;
  uint64_t bytes_decoded = 0;
  uint64_t reads = 0;       // read requests
  bool used_uring = false;  // false: pread, a copy, or nothing to read
  size_t peak_staging_bytes = 0;
  double seconds = 0;
};

class ByteSource;

class Loader {
 public:
  // Reads and checks superblock and index (R1-R19). The error names the file. A path that begins
  // with http:// or https:// is read from there with range requests, at most two of them here; all
  // messages and path() leave out its user, password and query.
  static Result<std::unique_ptr<Loader>> Open(const std::string& path, const LoadOptions& options);
  // The same over any source of bytes.
  static Result<std::unique_ptr<Loader>> OpenSource(std::unique_ptr<ByteSource> source,
                                                    const LoadOptions& options);
  // The same over a container in memory (copied).
  static Result<std::unique_ptr<Loader>> OpenMemory(std::vector<uint8_t> bytes,
                                                    const LoadOptions& options);
  ~Loader();

  [[nodiscard]] const Index& index() const;
  [[nodiscard]] const Superblock& superblock() const;
  [[nodiscard]] const std::string& path() const;
  // Which way of reading runs and why: "io_uring, 16 reads in flight" or "pread: io_uring refused
  // (Operation not permitted)".
  [[nodiscard]] std::string io_description() const;
  // Position of a tensor in the index, or kNotFound with a hint of similar names.
  [[nodiscard]] Result<size_t> Find(std::string_view name) const;

  // A slice of a tensor reads and checks only the chunks it touches, and the tensor's side
  // information (codes of rows and columns), which is small, as a whole.
  Result<Tensor> Load(std::string_view name, const TensorSlice& slice = {}) const;
  Result<Tensor> Load(size_t number, const TensorSlice& slice = {}) const;

  // Loads what `requests` ask for (each tensor at most once) and calls `ready` with each tensor as
  // soon as its slice is there, in the order of the requests, one call at a time, on the calling
  // thread. File order reads fastest; LayerOrder (loader/layer_order.h) is the order in which a
  // model needs its tensors. A callback that returns an error ends the stream with it. Unknown or
  // repeated numbers and slices outside their tensors are kUsage, tensors of an unknown profile
  // kUnsupported; nothing is read then. `statistics` is filled in on failure too, as far as reading
  // had begun. Tensors that are ready but not yet taken count towards no budget other than their
  // own memory; at most two decoded tensors wait beyond the one being handed over.
  //
  // Soon after another thread sets *cancel (milliseconds, but no sooner than chunks being decoded,
  // a neural codec being read and reads that the operating system has begun are done) the stream
  // ends with kCancelled; its threads are over and its memory is free when it returns. A callback
  // is waited for.
  Status Stream(std::span<const TensorRequest> requests, const std::function<Status(Tensor)>& ready,
                LoadStatistics* statistics = nullptr,
                const std::atomic<bool>* cancel = nullptr) const;
  // Whole tensors.
  Status Stream(const std::vector<size_t>& numbers, const std::function<Status(Tensor)>& ready,
                LoadStatistics* statistics = nullptr,
                const std::atomic<bool>* cancel = nullptr) const;
  [[nodiscard]] std::vector<size_t> All() const;  // unsupported tensors included

  // What tensor `number` is decoded with, built when first needed; reads neural codecs from the
  // file and checks them (R34, R35). kUsage for an unknown number.
  [[nodiscard]] Result<ChunkCodec> CodecOf(size_t number) const;

  // A metadata file of the checkpoint, checked (R30).
  Result<std::vector<uint8_t>> LoadFile(size_t file_number) const;

  // The source the loader reads from, without a cache: for tools that check raw ranges.
  [[nodiscard]] const ByteSource& source() const;

 private:
  struct Impl;
  explicit Loader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
