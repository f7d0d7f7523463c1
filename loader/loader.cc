#include "loader/loader.h"

#include <cstdlib>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>

#include "loader/byte_source.h"
#include "loader/chunk_cache.h"
#include "loader/file_source.h"
#include "loader/http_source.h"
#include "loader/http_url.h"
#include "loader/memory_source.h"
#include "loader/name_hint.h"
#include "loader/pipeline.h"
#include "loader/read_piece.h"
#include "loader/read_range.h"
#include "loader/without_exceptions.h"

namespace nwc {
namespace {

// Nothing is allocated by a size the file states before that size is known to fit the real file.
Result<Index> ReadIndex(const ByteSource& source, Superblock* superblock) {
  auto block = AlignedBuffer::Allocate(std::min(source.size(), kSuperblockSize));
  if (!block.ok()) return block.status().WithContext(source.name());
  NWC_RETURN_IF_ERROR(source.Read(0, block->mutable_span()));
  const auto parsed = ParseSuperblock(block->span(), source.size());
  if (!parsed.ok()) return parsed.status().WithContext(source.name());
  *superblock = *parsed;
  auto bytes = AlignedBuffer::Allocate(superblock->index_size);
  if (!bytes.ok()) return bytes.status().WithContext(source.name() + ": index");
  if (const Status status = source.Read(superblock->index_offset, bytes->mutable_span());
      !status.ok()) {
    return WhileReading(status, "the index");
  }
  auto index = ParseIndex(bytes->span(), *superblock);
  if (!index.ok()) return index.status().WithContext(source.name());
  return index;
}

}  // namespace

struct Loader::Impl {
  std::unique_ptr<ByteSource> source;
  std::unique_ptr<CachedSource> cached;  // over `source`, or null
  LoadOptions options;
  Superblock superblock;
  Index index;
  IoChoice io;                                           // after what it reads from
  std::unordered_map<std::string_view, size_t> numbers;  // by tensor name; views into index

  static Result<std::unique_ptr<Impl>> Open(std::unique_ptr<ByteSource> source,
                                            const LoadOptions& options);

  // Puts the cache that the options or the environment ask for before the source.
  Status UseCache();
  void Log() const {
    if (options.log) options.log(source->name() + ": reads by " + io.description);
  }
  // The codecs of `wanted`, valid numbers, one each; built when first needed. Adds what was read
  // for that to *bytes_read.
  Result<std::vector<ChunkCodec>> CodecsOf(std::span<const size_t> wanted, uint64_t* bytes_read,
                                           const std::atomic<bool>* cancel = nullptr);

 private:
  Status ReadNeural(uint16_t number, uint64_t* bytes_read, const std::atomic<bool>* cancel);

  std::mutex codecs_mutex_;
  std::vector<std::shared_ptr<const StreamTables>> stream_codecs_;
  std::vector<std::shared_ptr<const NeuralDecodeCodec>> neural_codecs_;
};

Result<std::unique_ptr<Loader::Impl>> Loader::Impl::Open(std::unique_ptr<ByteSource> source,
                                                         const LoadOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->source = std::move(source);
  impl->options = options;
  if (options.threads == 0) impl->options.threads = static_cast<int>(DefaultDecodeThreads());
  NWC_ASSIGN_OR_RETURN(impl->index, ReadIndex(*impl->source, &impl->superblock));
  NWC_ASSIGN_OR_RETURN(impl->io, ChooseIo(*impl->source, options.io));
  const std::vector<TensorInfo>& tensors = impl->index.tensors;
  impl->numbers.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) impl->numbers.emplace(tensors[i].name, i);
  impl->stream_codecs_.resize(impl->index.codecs.size());
  impl->neural_codecs_.resize(impl->index.neural_codecs.size());
  return impl;
}

Status Loader::Impl::UseCache() {
  std::string folder = options.remote.cache_folder;
  const char* const value = std::getenv("NWC_CACHE");
  if (folder.empty() && value != nullptr) folder = value;
  if (folder.empty()) return {};
  NWC_ASSIGN_OR_RETURN(auto cache, ChunkCache::Open(folder, options.remote.cache_bytes));
  cached = std::make_unique<CachedSource>(*source, std::move(cache), superblock, index);
  io.from.source = cached.get();
  io.parallel_reads = cached->traits().parallel_reads;
  io.description = cached->traits().kind;
  return {};
}

Status Loader::Impl::ReadNeural(uint16_t number, uint64_t* bytes_read,
                                const std::atomic<bool>* cancel) {
  const NeuralCodecInfo& info = index.neural_codecs[number];
  NWC_ASSIGN_OR_RETURN(const NeuralCodec codec, ReadNeuralCodecFrom(*io.from.source, info, cancel));
  *bytes_read += info.extent.size;
  neural_codecs_[number] = std::make_shared<const NeuralDecodeCodec>(codec);
  return {};
}

Result<std::vector<ChunkCodec>> Loader::Impl::CodecsOf(std::span<const size_t> wanted,
                                                       uint64_t* bytes_read,
                                                       const std::atomic<bool>* cancel) {
  const std::lock_guard lock(codecs_mutex_);
  std::vector<ChunkCodec> codecs;
  codecs.reserve(wanted.size());
  for (const size_t number : wanted) {
    const TensorInfo& tensor = index.tensors[number];
    ChunkCodec& codec = codecs.emplace_back();
    if (tensor.supported() && tensor.stream) {
      auto& tables = stream_codecs_[tensor.stream->codec];
      if (tables == nullptr) {
        tables = std::make_shared<const StreamTables>(index.codecs[tensor.stream->codec].tables);
      }
      codec = tables;
    } else if (tensor.supported() && tensor.neural) {
      const uint16_t position = tensor.neural->codec;
      if (neural_codecs_[position] == nullptr) {
        NWC_RETURN_IF_ERROR(ReadNeural(position, bytes_read, cancel));
      }
      codec = neural_codecs_[position];
    }
  }
  return codecs;
}

Loader::Loader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Loader::~Loader() = default;

Result<std::unique_ptr<Loader>> Loader::Open(const std::string& path, const LoadOptions& options) {
  std::string name;
  return WithoutExceptions(name, [&]() -> Result<std::unique_ptr<Loader>> {
    name = PathForMessages(path);
    std::unique_ptr<ByteSource> source;
    const bool remote = IsHttpUrl(path);
    if (remote) {
      NWC_ASSIGN_OR_RETURN(source, HttpSource::Open(path, options.remote));
    } else {
      NWC_ASSIGN_OR_RETURN(source, FileSource::Open(path));
    }
    NWC_ASSIGN_OR_RETURN(auto impl, Impl::Open(std::move(source), options));
    if (remote) NWC_RETURN_IF_ERROR(impl->UseCache());
    impl->Log();
    return std::unique_ptr<Loader>(new Loader(std::move(impl)));
  });
}

Result<std::unique_ptr<Loader>> Loader::OpenSource(std::unique_ptr<ByteSource> source,
                                                   const LoadOptions& options) {
  std::string name;
  return WithoutExceptions(name, [&]() -> Result<std::unique_ptr<Loader>> {
    name = source->name();
    NWC_ASSIGN_OR_RETURN(auto impl, Impl::Open(std::move(source), options));
    impl->Log();
    return std::unique_ptr<Loader>(new Loader(std::move(impl)));
  });
}

Result<std::unique_ptr<Loader>> Loader::OpenMemory(std::vector<uint8_t> bytes,
                                                   const LoadOptions& options) {
  static const std::string kName = "(memory)";
  return WithoutExceptions(kName, [&] {
    return OpenSource(std::make_unique<MemorySource>(kName, std::move(bytes)), options);
  });
}

const Index& Loader::index() const { return impl_->index; }
const Superblock& Loader::superblock() const { return impl_->superblock; }
const std::string& Loader::path() const { return impl_->source->name(); }
std::string Loader::io_description() const { return impl_->io.description; }
const ByteSource& Loader::source() const { return *impl_->source; }
const IoChoice& Loader::io() const { return impl_->io; }

Result<size_t> Loader::Find(std::string_view name) const {
  return WithoutExceptions(path(), [&]() -> Result<size_t> {
    if (const auto it = impl_->numbers.find(name); it != impl_->numbers.end()) return it->second;
    std::vector<std::string_view> names;
    for (const TensorInfo& tensor : impl_->index.tensors) names.push_back(tensor.name);
    return Status(ErrorCode::kNotFound, path() + ": no tensor '" + std::string(name) + "'" +
                                            NameHint(SimilarNames(name, names)));
  });
}

Result<Tensor> Loader::Load(std::string_view name, const TensorSlice& slice,
                            const std::atomic<bool>* cancel) const {
  NWC_ASSIGN_OR_RETURN(const size_t number, Find(name));
  return Load(number, slice, cancel);
}

Result<Tensor> Loader::Load(size_t number, const TensorSlice& slice,
                            const std::atomic<bool>* cancel) const {
  return WithoutExceptions(path(), [&]() -> Result<Tensor> {
    std::optional<Tensor> loaded;
    const TensorRequest request{number, slice};
    const auto keep = [&](Tensor tensor) -> Status {
      loaded = std::move(tensor);
      return {};
    };
    NWC_RETURN_IF_ERROR(Stream(std::span(&request, 1), keep, nullptr, cancel));
    return std::move(*loaded);
  });
}

Status Loader::Stream(const std::vector<size_t>& numbers,
                      const std::function<Status(Tensor)>& ready, LoadStatistics* statistics,
                      const std::atomic<bool>* cancel) const {
  return WithoutExceptions(path(), [&]() -> Status {
    std::vector<TensorRequest> requests;
    requests.reserve(numbers.size());
    for (const size_t number : numbers) requests.push_back({number});
    return Stream(std::span<const TensorRequest>(requests), ready, statistics, cancel);
  });
}

Status Loader::Stream(std::span<const TensorRequest> requests,
                      const std::function<Status(Tensor)>& ready, LoadStatistics* statistics,
                      const std::atomic<bool>* cancel) const {
  return WithoutExceptions(path(), [&]() -> Status {
    uint64_t codec_bytes = 0;
    PipelineInput input;
    input.name = path();
    input.parts.push_back(Part({requests.begin(), requests.end()}, &codec_bytes));
    input.cancel = cancel;
    const Status status = RunPipeline(input, ready, statistics);
    if (statistics != nullptr) statistics->bytes_read += codec_bytes;
    return status;
  });
}

PipelinePart Loader::Part(std::vector<TensorRequest> requests, uint64_t* codec_bytes) const {
  PipelinePart part;
  part.index = &impl_->index;
  part.options = &impl_->options;
  part.io = &impl_->io;
  part.codecs = [impl = impl_.get(), codec_bytes](std::span<const TensorRequest> wanted,
                                                  const std::atomic<bool>* cancel) {
    std::vector<size_t> numbers;
    for (const TensorRequest& request : wanted) numbers.push_back(request.number);
    return impl->CodecsOf(numbers, codec_bytes, cancel);
  };
  part.requests = std::move(requests);
  return part;
}

std::vector<size_t> Loader::All() const {
  std::vector<size_t> numbers(impl_->index.tensors.size());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  return numbers;
}

Result<ChunkCodec> Loader::CodecOf(size_t number) const {
  return WithoutExceptions(path(), [&]() -> Result<ChunkCodec> {
    if (number >= impl_->index.tensors.size()) {
      return Status(ErrorCode::kUsage, path() + ": no tensor number " + std::to_string(number));
    }
    uint64_t bytes_read = 0;
    NWC_ASSIGN_OR_RETURN(auto codecs, impl_->CodecsOf({&number, 1}, &bytes_read));
    return std::move(codecs.front());
  });
}

Status Loader::ReadRange(uint64_t offset, uint64_t size_bytes, AlignedBuffer* buffer,
                         const std::atomic<bool>* cancel) const {
  return WithoutExceptions(path(), [&] {
    ReadFrom from = impl_->io.from;
    if (impl_->cached != nullptr) from.source = impl_->source.get();
    return nwc::ReadRange(impl_->io, from, offset, size_bytes, buffer, cancel);
  });
}

Result<std::vector<uint8_t>> Loader::LoadFile(size_t file_number,
                                              const std::atomic<bool>* cancel) const {
  return WithoutExceptions(path(), [&]() -> Result<std::vector<uint8_t>> {
    const auto& files = impl_->index.files;
    if (file_number >= files.size()) {
      return Status(ErrorCode::kNotFound, path() + ": file number " + std::to_string(file_number) +
                                              " of " + std::to_string(files.size()));
    }
    const FileInfo& file = files[file_number];
    std::vector<uint8_t> bytes(file.extent.size);
    if (const Status status = ReadPiece(*impl_->io.from.source, file.extent, bytes, cancel);
        !status.ok()) {
      return WhileReading(status, "file '" + file.name + "'");
    }
    if (Hash64(bytes) != file.extent.hash) {
      return Status::Corrupt(30, path() + ": file '" + file.name + "' at byte " +
                                     std::to_string(file.extent.offset) +
                                     ": hash does not match; the file is damaged: fetch it again");
    }
    return bytes;
  });
}

}  // namespace nwc
