#include "tools/container_check.h"

#include <algorithm>
#include <memory>

#include "tools/display.h"
#include "tools/parallel_for.h"

namespace nwc {
namespace {

constexpr uint64_t kBatchBytes = 32 << 20;  // read ahead, unless a single chunk is larger

std::string Hex(uint64_t hash) { return ToHex({hash, 0}).substr(16); }

// A hashed range of the file.
struct Piece {
  enum class Kind : uint8_t { kFile, kNeuralCodec, kSideInfo, kChunk };
  Kind kind;
  size_t number;  // of the file, the neural codec or the chunk
  Extent extent;
  [[nodiscard]] uint64_t end() const { return extent.offset + extent.size; }
};

class Checker {
 public:
  Checker(const Loader& loader, const CheckSettings& settings)
      : loader_(loader), index_(loader.index()), settings_(settings) {}

  Result<CheckReport> Run();

 private:
  Status CheckFiles();
  Status CheckNeuralCodecs();
  Status CheckTensor(size_t number);
  Status CheckEnd();

  Status CheckPieces(const std::vector<Piece>& pieces);
  Status ReadUpTo(uint64_t end);
  void CheckPadding(uint64_t begin, uint64_t end);
  void CheckPiece(const Piece& piece, Problem* problem);
  void CheckDecoded();
  Status PrepareDecoding(size_t number);

  [[nodiscard]] ByteSpan Bytes(const Extent& e) const {
    return buffer_.span().subspan(e.offset - buffer_begin_, e.size);
  }
  [[nodiscard]] const std::string& Name(const Piece& piece) const;
  [[nodiscard]] std::string Where(const Piece& piece) const;
  [[nodiscard]] Problem About(const Piece& piece, const Status& status) const;
  void Tell(const std::string& item, uint64_t bytes_done) const {
    if (!settings_.progress) return;
    settings_.progress(item, bytes_done, loader_.superblock().index_offset);
  }
  void Add(Problem problem) { report_.problems.push_back(std::move(problem)); }

  const Loader& loader_;
  const Index& index_;
  const CheckSettings& settings_;
  CheckReport report_;

  uint64_t cursor_ = kSuperblockSize;  // everything before is checked
  AlignedBuffer buffer_;               // bytes of the file
  uint64_t buffer_begin_ = 0, buffer_end_ = 0;

  const TensorInfo* tensor_ = nullptr;   // being checked
  std::optional<ChunkCodec> codec_;      // set where it is sound
  std::optional<ChunkDecoder> decoder_;  // set while the tensor can be decoded
  AlignedBuffer decoded_;
};

const std::string& Checker::Name(const Piece& piece) const {
  switch (piece.kind) {
    case Piece::Kind::kFile:
      return index_.files[piece.number].name;
    case Piece::Kind::kNeuralCodec:
      return index_.neural_codecs[piece.number].name;
    default:
      return tensor_->name;
  }
}

std::string Checker::Where(const Piece& piece) const {
  const std::string at = " at byte " + std::to_string(piece.extent.offset);
  if (piece.kind == Piece::Kind::kFile) return loader_.path() + ": file " + Quote(Name(piece)) + at;
  if (piece.kind == Piece::Kind::kNeuralCodec) {
    return loader_.path() + ": neural codec " + Quote(Name(piece)) + at;
  }
  const std::string tensor = loader_.path() + ": tensor " + Quote(tensor_->name);
  if (piece.kind == Piece::Kind::kSideInfo) return tensor + " side information" + at;
  const TileRange tile = tensor_->Tile(piece.number);
  return tensor + " chunk " + std::to_string(piece.number) + " (rows " +
         std::to_string(tile.row_begin) + ".." + std::to_string(tile.row_end) + ", columns " +
         std::to_string(tile.column_begin) + ".." + std::to_string(tile.column_end) + ")" + at;
}

Problem Checker::About(const Piece& piece, const Status& status) const {
  Problem problem;
  problem.rule = status.rule();
  problem.byte = piece.extent.offset;
  problem.message = Where(piece) + ": " + status.message();
  if (piece.kind == Piece::Kind::kFile) {
    problem.file = Name(piece);
    return problem;
  }
  if (piece.kind == Piece::Kind::kNeuralCodec) return problem;
  problem.tensor = tensor_->name;
  if (piece.kind == Piece::Kind::kChunk) problem.chunk = piece.number;
  return problem;
}

Result<CheckReport> Checker::Run() {
  NWC_RETURN_IF_ERROR(CheckFiles());
  NWC_RETURN_IF_ERROR(CheckNeuralCodecs());
  for (size_t i = 0; i < index_.tensors.size(); ++i) NWC_RETURN_IF_ERROR(CheckTensor(i));
  NWC_RETURN_IF_ERROR(CheckEnd());
  return std::move(report_);
}

Status Checker::CheckFiles() {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < index_.files.size(); ++i) {
    pieces.push_back({Piece::Kind::kFile, i, index_.files[i].extent});
  }
  report_.files = pieces.size();
  return CheckPieces(pieces);
}

Status Checker::CheckNeuralCodecs() {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < index_.neural_codecs.size(); ++i) {
    pieces.push_back({Piece::Kind::kNeuralCodec, i, index_.neural_codecs[i].extent});
  }
  return CheckPieces(pieces);
}

Status Checker::CheckTensor(size_t number) {
  const TensorInfo& tensor = index_.tensors[number];
  tensor_ = &tensor;
  std::vector<Piece> pieces;
  if (tensor.stream) pieces.push_back({Piece::Kind::kSideInfo, 0, tensor.stream->side});
  if (tensor.neural) pieces.push_back({Piece::Kind::kSideInfo, 0, tensor.neural->side});
  for (size_t i = 0; i < tensor.chunks.size(); ++i) {
    const Chunk& c = tensor.chunks[i];
    pieces.push_back({Piece::Kind::kChunk, i, {c.offset, c.size, c.hash}});
  }
  if (settings_.deep) NWC_RETURN_IF_ERROR(PrepareDecoding(number));
  const size_t problems_before = report_.problems.size();
  NWC_RETURN_IF_ERROR(CheckPieces(pieces));
  if (decoder_ && report_.problems.size() == problems_before) CheckDecoded();
  decoder_.reset();
  decoded_ = {};
  ++report_.tensors;
  report_.chunks += tensor.chunks.size();
  return {};
}

// A decoder that needs side information is made when that has arrived.
Status Checker::PrepareDecoding(size_t number) {
  const TensorInfo& tensor = index_.tensors[number];
  codec_.reset();
  if (!tensor.supported()) {
    report_.undecoded.push_back(tensor.name);
    return {};
  }
  auto decoded = AlignedBuffer::Allocate(tensor.decoded_bytes());
  if (!decoded.ok()) {
    return decoded.status().WithContext(loader_.path() + ": tensor " + Quote(tensor.name));
  }
  decoded_ = std::move(*decoded);
  if (tensor.side() == nullptr) {
    NWC_ASSIGN_OR_RETURN(decoder_, ChunkDecoder::Create(tensor, {}, nullptr));
    return {};
  }
  auto codec = loader_.CodecOf(number);
  // A broken codec is in the report already; its tensors cannot be decoded.
  if (!codec.ok()) {
    return codec.status().code() == ErrorCode::kCorrupt ? Status() : codec.status();
  }
  codec_ = std::move(*codec);
  return {};
}

void Checker::CheckDecoded() {
  report_.decoded_bytes += decoded_.size();
  const Hash128 hash = Hash128Of(decoded_.span());
  if (hash == tensor_->decoded_hash) return;
  Problem problem;
  problem.rule = 29;
  problem.tensor = tensor_->name;
  problem.message = loader_.path() + ": tensor " + Quote(tensor_->name) +
                    ": decoded bytes hash to " + ToHex(hash) + ", expected " +
                    ToHex(tensor_->decoded_hash);
  Add(std::move(problem));
}

Status Checker::CheckEnd() {
  NWC_RETURN_IF_ERROR(ReadUpTo(loader_.superblock().index_offset));
  CheckPadding(cursor_, loader_.superblock().index_offset);
  Tell("index", loader_.superblock().index_offset);
  return {};
}

Status Checker::CheckPieces(const std::vector<Piece>& pieces) {
  for (size_t begin = 0, end = 0; begin < pieces.size(); begin = end) {
    const uint64_t batch_begin = cursor_;
    while (end < pieces.size() && (end == begin || pieces[end].end() - cursor_ <= kBatchBytes)) {
      ++end;
    }
    NWC_RETURN_IF_ERROR(ReadUpTo(pieces[end - 1].end()));
    for (size_t i = begin; i < end; ++i) {
      CheckPadding(cursor_, pieces[i].extent.offset);
      cursor_ = pieces[i].end();
      report_.hashed_bytes += pieces[i].extent.size;
    }
    std::vector<Problem> problems(end - begin);
    size_t i = begin;
    // Chunks wait for the decoder that their side information makes.
    if (pieces[i].kind == Piece::Kind::kSideInfo) CheckPiece(pieces[i++], &problems[0]);
    const bool worth_threads = cursor_ - batch_begin >= kParallelBytes;
    ParallelFor(end - i, worth_threads ? settings_.threads : 1,
                [&](size_t k) { CheckPiece(pieces[i + k], &problems[i + k - begin]); });
    for (Problem& p : problems) {
      if (!p.message.empty()) Add(std::move(p));
    }
    Tell(Name(pieces[begin]), cursor_);
  }
  return {};
}

// From the cursor on; as much more as a batch has, so that small tensors do not wait for a read
// each. Begins at a page, which is what O_DIRECT wants.
Status Checker::ReadUpTo(uint64_t end) {
  if (settings_.cancel != nullptr && *settings_.cancel) {
    return Status(ErrorCode::kCancelled, loader_.path() + ": stopped");
  }
  if (end <= buffer_end_) return {};
  buffer_begin_ = cursor_ / kPageBytes * kPageBytes;
  const uint64_t ahead = std::min(buffer_begin_ + kBatchBytes, loader_.superblock().index_offset);
  buffer_end_ = std::max(end, ahead);
  return loader_.ReadRange(buffer_begin_, buffer_end_ - buffer_begin_, &buffer_, settings_.cancel);
}

void Checker::CheckPadding(uint64_t begin, uint64_t end) {
  report_.padding_bytes += end - begin;
  const ByteSpan bytes = Bytes({begin, end - begin, 0});
  const auto bad = std::find_if(bytes.begin(), bytes.end(), [](uint8_t b) { return b != 0; });
  if (bad == bytes.end()) return;
  Problem problem;
  problem.rule = 31;
  problem.byte = begin + static_cast<uint64_t>(bad - bytes.begin());
  problem.message = loader_.path() + ": padding at byte " + std::to_string(*problem.byte) + ": " +
                    std::to_string(*bad) + ", expected 0; loaders ignore it";
  Add(std::move(problem));
}

void Checker::CheckPiece(const Piece& piece, Problem* problem) {
  const ByteSpan bytes = Bytes(piece.extent);
  if (const uint64_t hash = Hash64(bytes); hash != piece.extent.hash) {
    const int rule = piece.kind == Piece::Kind::kFile          ? 30
                     : piece.kind == Piece::Kind::kNeuralCodec ? 34
                     : piece.kind == Piece::Kind::kSideInfo    ? 21
                                                               : 20;
    *problem = About(
        piece, Status::Corrupt(rule, "hash " + Hex(hash) + ", expected " + Hex(piece.extent.hash)));
    return;
  }
  if (!settings_.deep || piece.kind == Piece::Kind::kFile) return;
  Status status;
  if (piece.kind == Piece::Kind::kNeuralCodec) {
    status = ReadNeuralCodec(index_.neural_codecs[piece.number], bytes).status();
  } else if (piece.kind == Piece::Kind::kSideInfo) {
    if (!codec_) return;
    auto decoder = ChunkDecoder::Create(*tensor_, bytes, *codec_);
    status = decoder.status();
    if (decoder.ok()) decoder_ = std::move(*decoder);
  } else if (decoder_) {
    status = decoder_->Decode(piece.number, bytes, decoded_.mutable_span());
  }
  if (!status.ok()) *problem = About(piece, status);
}

}  // namespace

Result<CheckReport> CheckContainer(const Loader& loader, const CheckSettings& settings) {
  return Checker(loader, settings).Run();
}

}  // namespace nwc
