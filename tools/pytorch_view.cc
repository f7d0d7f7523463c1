#include "tools/pytorch_view.h"

#include <utility>

#include "tools/display.h"
#include "tools/stored_tensor.h"

namespace nwc {
namespace {

// Elements from the first to the one after the last; nothing when they do not fit in 64 bits.
std::optional<uint64_t> Extent(const std::vector<uint64_t>& shape,
                               const std::vector<uint64_t>& strides) {
  std::optional<uint64_t> extent = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    const auto reach = CheckedMultiply(shape[d] - 1, strides[d]);
    if (!reach) return std::nullopt;
    extent = CheckedAdd(*extent, *reach);
    if (!extent) return std::nullopt;
  }
  return extent;
}

bool IsRowMajor(const std::vector<uint64_t>& shape, const std::vector<uint64_t>& strides) {
  uint64_t expected = 1;  // fits: the whole tensor does
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1 && strides[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

}  // namespace

Result<PickledTensor> ViewStorage(const PickledStorage& storage, uint64_t offset,
                                  std::vector<uint64_t> shape, std::vector<uint64_t> strides) {
  const std::string tensor =
      "a tensor of shape " + FormatShape(shape) + " in storage " + Quote(storage.key);
  if (!storage.dtype || shape.size() != strides.size()) {
    return Status(ErrorCode::kCorrupt, tensor + " has no type, or not a stride a dimension");
  }
  PickledTensor view;
  view.dtype = *storage.dtype;
  view.storage = storage.key;
  view.storage_bytes = storage.bytes;
  const uint64_t element = DTypeSize(view.dtype);
  const uint64_t elements = storage.bytes / element;
  const auto bytes = StoredBytes(view.dtype, shape);
  if (!bytes || *bytes > storage.bytes) {
    return Status(ErrorCode::kUnsupported, tensor + " has more elements than the " +
                                               std::to_string(elements) +
                                               " of its storage; save it after .contiguous()");
  }
  if (*bytes != 0) {
    const auto extent = Extent(shape, strides);
    if (!extent || offset > elements || *extent > elements - offset) {
      return Status(ErrorCode::kCorrupt,
                    tensor + " leaves it: it has " + std::to_string(elements) + " elements");
    }
    view.begin = offset * element;
    view.end = view.begin + *extent * element;
    if (!IsRowMajor(shape, strides)) view.strides = std::move(strides);
  }
  view.shape = std::move(shape);
  return view;
}

}  // namespace nwc
