#include "tools/stored_tensor.h"

#include <new>
#include <nlohmann/json.hpp>

#include "format/layout.h"
#include "tools/crc32.h"
#include "tools/display.h"

namespace nwc {
namespace {

// Copies elements of kSize bytes that lie `stride` elements apart.
template <size_t kSize>
uint8_t* CopyRow(const uint8_t* source, uint64_t count, uint64_t stride, uint8_t* out) {
  for (uint64_t i = 0; i < count; ++i, out += kSize) {
    std::memcpy(out, source + i * stride * kSize, kSize);
  }
  return out;
}

uint8_t* CopyRow(size_t element, const uint8_t* source, uint64_t count, uint64_t stride,
                 uint8_t* out) {
  switch (element) {
    case 1:
      return CopyRow<1>(source, count, stride, out);
    case 2:
      return CopyRow<2>(source, count, stride, out);
    case 4:
      return CopyRow<4>(source, count, stride, out);
    default:
      return CopyRow<8>(source, count, stride, out);
  }
}

// Counts through all dimensions but the last, which is copied a row at a time.
void Gather(const StoredTensor& tensor, const uint8_t* source, uint8_t* out) {
  const size_t element = DTypeSize(tensor.dtype);
  const size_t last = tensor.shape.size() - 1;
  std::vector<uint64_t> at(last, 0);
  uint64_t offset = 0;  // elements
  for (;;) {
    out =
        CopyRow(element, source + offset * element, tensor.shape[last], tensor.strides[last], out);
    size_t d = last;
    for (; d > 0; --d) {
      offset += tensor.strides[d - 1];
      if (++at[d - 1] < tensor.shape[d - 1]) break;
      offset -= tensor.strides[d - 1] * tensor.shape[d - 1];
      at[d - 1] = 0;
    }
    if (d == 0) return;
  }
}

Status ReadGathered(const ReadAt& read, const StoredTensor& tensor, MutableByteSpan destination) {
  std::vector<uint8_t> bytes;
  try {
    bytes.resize(tensor.end - tensor.begin);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory, "no memory for the " +
                                               FormatBytes(tensor.end - tensor.begin) +
                                               " that its elements are spread over");
  }
  NWC_RETURN_IF_ERROR(read(tensor.begin, bytes));
  if (tensor.crc32) NWC_RETURN_IF_ERROR(CheckCrc32(bytes, *tensor.crc32));
  if (!destination.empty()) Gather(tensor, bytes.data(), destination.data());
  return {};
}

}  // namespace

std::optional<uint64_t> StoredBytes(DType dtype, const std::vector<uint64_t>& shape) {
  if (shape.size() > kMaxDimensions) return std::nullopt;
  uint64_t bytes = DTypeSize(dtype);
  bool empty = false;
  for (const uint64_t d : shape) {
    empty = empty || d == 0;
    const auto product = CheckedMultiply(bytes, d == 0 ? 1 : d);
    if (!product || *product > kMaxTensorBytes) return std::nullopt;
    bytes = *product;
  }
  return empty ? 0 : bytes;
}

Status CheckTensorName(const std::string& name) {
  bool good = !name.empty() && name.size() <= kMaxNameBytes && name != "__metadata__";
  try {
    if (good) (void)nlohmann::json(name).dump();
  } catch (const nlohmann::json::exception&) {  // not UTF-8
    good = false;
  }
  if (good) return {};
  return Status(ErrorCode::kUnsupported,
                "tensor " + Quote(name) + ": the name has " + std::to_string(name.size()) +
                    " bytes, expected 1 to " + std::to_string(kMaxNameBytes) +
                    " of UTF-8 and not __metadata__");
}

Status ReadStored(const ReadAt& read, const StoredTensor& tensor, MutableByteSpan destination) {
  if (!tensor.strides.empty()) return ReadGathered(read, tensor, destination);
  NWC_RETURN_IF_ERROR(read(tensor.begin, destination));
  return tensor.crc32 ? CheckCrc32(destination, *tensor.crc32) : Status();
}

}  // namespace nwc
