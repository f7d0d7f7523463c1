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
#include "loader/io_mode.h"
#include "loader/remote_options.h"
#include "loader/tensor_slice.h"

namespace nwc {

// What LoadOptions::threads = 0 stands for: the processors that this process may use, by its
// affinity mask, and no more than a cgroup's limit on processor time keeps busy.
[[nodiscard]] size_t DefaultDecodeThreads();

struct LoadOptions {
  // For kAuto NWC_IO of the environment decides, with the same names; where it is not set, the kind
  // of file system and whether the file is in memory already. A mode that was asked for, here or
  // there, and that the system refuses is kIo when the file is opened; one that needs a file is
  // kUsage for bytes in memory or on a web server.
  IoMode io = IoMode::kAuto;
  // Most compressed bytes in flight in one call; at least the largest chunk wanted (else kUsage).
  // Slices need also memory for one decoded tile a thread.
  size_t staging_bytes = 64 << 20;
  int threads = 0;              // decoding threads; 0: DefaultDecodeThreads() on opening
  bool verify = true;           // check every chunk's hash (R20, R21); R34 is always checked
  bool verify_decoded = false;  // check whole tensors' decoded hash too (R29); slices have none
  Simd simd = BestSimd();
  RemoteOptions remote;  // for http:// and https://
  // Gets a line for each container that was opened: its path, the way of reading and why. Shards of
  // a set on a web server are opened by several threads at once, which may call it at once.
  std::function<void(const std::string& line)> log;
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
  bool used_uring = false;  // with or without O_DIRECT; false: threads, or nothing to read
  size_t peak_staging_bytes = 0;
  double seconds = 0;
};

class ByteSource;
struct IoChoice;
struct PipelinePart;

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
  // Which way of reading runs and why: "io_uring: asked for" or "pread: io_uring refused (Operation
  // not permitted)".
  [[nodiscard]] std::string io_description() const;
  // Position of a tensor in the index, or kNotFound with a hint of similar names.
  [[nodiscard]] Result<size_t> Find(std::string_view name) const;

  // A slice of a tensor reads and checks only the chunks it touches, and the tensor's side
  // information (codes of rows and columns), which is small, as a whole. `cancel` as for Stream.
  Result<Tensor> Load(std::string_view name, const TensorSlice& slice = {},
                      const std::atomic<bool>* cancel = nullptr) const;
  Result<Tensor> Load(size_t number, const TensorSlice& slice = {},
                      const std::atomic<bool>* cancel = nullptr) const;

  // Loads what `requests` ask for (each tensor at most once) and calls `ready` with each tensor as
  // soon as its slice is there, in the order of the requests, one call at a time, on the calling
  // thread. File order reads fastest; LayerOrder (loader/layer_order.h) is the order in which a
  // model needs its tensors. A callback that returns an error ends the stream with it. Unknown or
  // repeated numbers and slices outside their tensors are kUsage, tensors of an unknown profile
  // kUnsupported; nothing is read then. `statistics` is filled in on failure too, as far as reading
  // had begun. Tensors that are ready but not yet taken count towards no budget other than their
  // own memory; at most two decoded tensors wait beyond the one being handed over.
  //
  // Soon after another thread sets *cancel (milliseconds, but no sooner than chunks being decoded
  // and reads that the operating system has begun are done) the stream ends with kCancelled; its
  // threads are over and its memory is free when it returns. A callback is waited for.
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

  // A metadata file of the checkpoint, checked (R30). `cancel` as for Stream.
  Result<std::vector<uint8_t>> LoadFile(size_t file_number,
                                        const std::atomic<bool>* cancel = nullptr) const;

  // Bytes of the file as they are, with several reads at once in the way the loader reads, but past
  // a cache: the first `size_bytes` of *buffer, which grows to that. `cancel` as for Stream.
  Status ReadRange(uint64_t offset, uint64_t size_bytes, AlignedBuffer* buffer,
                   const std::atomic<bool>* cancel = nullptr) const;
  // The source the loader reads from, without a cache.
  [[nodiscard]] const ByteSource& source() const;
  // How it reads payload, through its cache where it has one.
  [[nodiscard]] const IoChoice& io() const;

 private:
  friend class ModelLoader;  // streams from several loaders at once
  // What a pipeline needs to load `requests`; adds what was read for codecs to *codec_bytes, which
  // the part refers to, as it does to this loader.
  [[nodiscard]] PipelinePart Part(std::vector<TensorRequest> requests, uint64_t* codec_bytes) const;

  struct Impl;
  explicit Loader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
