#include "encoder/pack_store.h"

#include <cstdint>
#include <cstring>

#include "encoder/policy.h"

namespace nwc {
namespace {

constexpr size_t kHashBytes = sizeof(uint64_t);

class PartWriter {
 public:
  template <typename T>
  void Value(T value) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    StoreLittle(&bytes_[at], value);
  }
  template <typename T>
  void Vector(const std::vector<T>& values) {
    Value<uint64_t>(values.size());
    const auto* p = reinterpret_cast<const uint8_t*>(values.data());
    bytes_.insert(bytes_.end(), p, p + values.size() * sizeof(T));
  }
  std::vector<uint8_t> Finish() {
    Value<uint64_t>(Hash64(bytes_));
    return std::move(bytes_);
  }

 private:
  std::vector<uint8_t> bytes_;
};

// The hash is checked first, so what follows was written by PartWriter; bounds are checked all the
// same.
class PartReader {
 public:
  explicit PartReader(ByteSpan bytes) : bytes_(bytes) {
    if (bytes.size() < kHashBytes || LoadLittle<uint64_t>(&bytes[bytes.size() - kHashBytes]) !=
                                         Hash64(bytes.first(bytes.size() - kHashBytes))) {
      failed_ = true;
      return;
    }
    bytes_ = bytes.first(bytes.size() - kHashBytes);
  }
  template <typename T>
  T Value() {
    if (failed_ || bytes_.size() < sizeof(T)) {
      failed_ = true;
      return T{};
    }
    const T value = LoadLittle<T>(bytes_.data());
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  template <typename T>
  std::vector<T> Vector() {
    const auto count = Value<uint64_t>();
    if (failed_ || count > bytes_.size() / sizeof(T)) {
      failed_ = true;
      return {};
    }
    std::vector<T> values(count);
    if (count != 0) std::memcpy(values.data(), bytes_.data(), count * sizeof(T));
    bytes_ = bytes_.subspan(count * sizeof(T));
    return values;
  }
  [[nodiscard]] Status Finish() const {
    if (!failed_ && bytes_.empty()) return {};
    return Status(ErrorCode::kCorrupt, "a stored part is damaged");
  }

 private:
  ByteSpan bytes_;
  bool failed_ = false;
};

void WriteStream(const StreamInfo& stream, PartWriter* out) {
  out->Value(stream.codec);
  out->Value(stream.trellis);
  out->Value(stream.scale);
  out->Value(stream.offset1);
  out->Value(stream.offset2);
  out->Value(stream.side.hash);
  out->Value<uint8_t>(stream.row_gains);
}

StreamInfo ReadStream(PartReader* in) {
  StreamInfo stream;
  stream.codec = in->Value<uint16_t>();
  stream.trellis = in->Value<uint8_t>();
  stream.scale = in->Value<float>();
  stream.offset1 = in->Value<int8_t>();
  stream.offset2 = in->Value<int8_t>();
  stream.side.hash = in->Value<uint64_t>();
  stream.row_gains = in->Value<uint8_t>() != 0;
  return stream;
}

void WriteNeural(const NeuralInfo& neural, PartWriter* out) {
  out->Value(neural.codec);
  out->Value(neural.scale);
  out->Value(neural.side.hash);
}

NeuralInfo ReadNeural(PartReader* in) {
  NeuralInfo neural;
  neural.codec = in->Value<uint16_t>();
  neural.scale = in->Value<float>();
  neural.side.hash = in->Value<uint64_t>();
  return neural;
}

}  // namespace

std::vector<uint8_t> SerializeCodedTensor(const CodedTensor& tensor) {
  PartWriter out;
  out.Value(tensor.info.profile_value);
  out.Value(tensor.info.tile_rows);
  out.Value(tensor.info.tile_columns);
  out.Value(tensor.info.decoded_hash.low);
  out.Value(tensor.info.decoded_hash.high);
  out.Value<uint8_t>(tensor.info.stream.has_value());
  if (tensor.info.stream) WriteStream(*tensor.info.stream, &out);
  out.Value<uint8_t>(tensor.info.neural.has_value());
  if (tensor.info.neural) WriteNeural(*tensor.info.neural, &out);
  out.Vector(tensor.side);
  out.Value<uint64_t>(tensor.chunks.size());
  for (const auto& chunk : tensor.chunks) out.Vector(chunk);
  out.Value(tensor.relative_mse);
  out.Value(tensor.kl);
  return out.Finish();
}

Result<CodedTensor> ParseCodedTensor(ByteSpan bytes, const TensorInfo& planned) {
  PartReader in(bytes);
  CodedTensor tensor;
  tensor.info = planned;
  tensor.info.profile_value = in.Value<uint8_t>();
  tensor.info.tile_rows = in.Value<uint32_t>();
  tensor.info.tile_columns = in.Value<uint32_t>();
  tensor.info.decoded_hash.low = in.Value<uint64_t>();
  tensor.info.decoded_hash.high = in.Value<uint64_t>();
  if (in.Value<uint8_t>() != 0) tensor.info.stream = ReadStream(&in);
  if (in.Value<uint8_t>() != 0) tensor.info.neural = ReadNeural(&in);
  tensor.side = in.Vector<uint8_t>();
  const auto chunks = in.Value<uint64_t>();
  for (uint64_t i = 0; i < chunks && i < bytes.size(); ++i) {
    tensor.chunks.push_back(in.Vector<uint8_t>());
  }
  tensor.relative_mse = in.Value<double>();
  tensor.kl = in.Value<double>();
  NWC_RETURN_IF_ERROR(in.Finish());
  // Tiles are those that the profile has for this tensor, so that they can be multiplied and
  // divided.
  const TensorInfo& info = tensor.info;
  const bool has_tiles =
      info.tile_rows == planned.tile_rows && info.tile_columns == planned.tile_columns;
  TensorInfo raw = planned;
  ChooseTiles(Profile::kRaw, &raw);
  const bool is_raw = info.profile_value == static_cast<uint8_t>(Profile::kRaw) &&
                      info.tile_rows == raw.tile_rows && info.tile_columns == raw.tile_columns;
  const bool planned_profile = info.profile_value == planned.profile_value && has_tiles;
  if ((!planned_profile && !is_raw) ||
      info.stream.has_value() != (info.profile() == Profile::kStream) ||
      info.neural.has_value() != (info.profile() == Profile::kNwc) ||
      tensor.chunks.size() != (info.weights() == 0 ? 0 : info.grid_rows() * info.grid_columns())) {
    return Status(ErrorCode::kCorrupt, "a stored tensor is not the one that is packed");
  }
  return tensor;
}

std::vector<uint8_t> SerializeStreamChoice(const StreamChoice& choice) {
  PartWriter out;
  out.Value(choice.constant);
  out.Value<int32_t>(choice.offset1);
  out.Value<int32_t>(choice.offset2);
  for (const auto& table : choice.tables.frequencies) out.Vector(table);
  return out.Finish();
}

Result<StreamChoice> ParseStreamChoice(ByteSpan bytes) {
  PartReader in(bytes);
  StreamChoice choice;
  choice.constant = in.Value<double>();
  choice.offset1 = in.Value<int32_t>();
  choice.offset2 = in.Value<int32_t>();
  for (auto& table : choice.tables.frequencies) table = in.Vector<uint16_t>();
  NWC_RETURN_IF_ERROR(in.Finish());
  NWC_RETURN_IF_ERROR(choice.tables.Validate());
  const auto is_offset = [](int offset) { return offset >= INT8_MIN && offset <= INT8_MAX; };
  if (!(choice.constant > 0) || !is_offset(choice.offset1) || !is_offset(choice.offset2)) {
    return Status(ErrorCode::kCorrupt, "a stored choice of steps is out of range");
  }
  return choice;
}

}  // namespace nwc
