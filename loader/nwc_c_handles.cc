#include "loader/nwc_c_handles.h"

namespace nwc {
namespace {

struct LastError {
  std::string message;
  int rule = 0;
};
thread_local LastError last_error;

static_assert(NWC_USAGE == static_cast<int>(ErrorCode::kUsage));
static_assert(NWC_NOT_FOUND == static_cast<int>(ErrorCode::kNotFound));
static_assert(NWC_CORRUPT == static_cast<int>(ErrorCode::kCorrupt));
static_assert(NWC_UNSUPPORTED == static_cast<int>(ErrorCode::kUnsupported));
static_assert(NWC_IO == static_cast<int>(ErrorCode::kIo));
static_assert(NWC_OUT_OF_MEMORY == static_cast<int>(ErrorCode::kOutOfMemory));
static_assert(NWC_CANCELLED == static_cast<int>(ErrorCode::kCancelled));
static_assert(NWC_INTERNAL == static_cast<int>(ErrorCode::kInternal));

static_assert(NWC_U64 == static_cast<int>(DType::kU64) && NWC_U64 + 1 == kDTypeCount);
static_assert(NWC_BF16 == static_cast<int>(DType::kBF16));
static_assert(NWC_MAX_DIMENSIONS == kMaxDimensions);
static_assert(NWC_END == TensorSlice::kEnd);

}  // namespace

nwc_code Report(const Status& status) noexcept {
  if (status.ok()) return NWC_OK;
  last_error.rule = status.rule();
  try {
    last_error.message = status.message();
  } catch (...) {
    last_error.message.clear();  // the code still says what it was
  }
  return static_cast<nwc_code>(status.code());
}

Status NullArgument(const char* function, const char* argument) {
  return Status(ErrorCode::kUsage, std::string(function) + ": " + argument + " is NULL");
}

Status WrongStructSize(const char* type, size_t said, size_t expected) {
  return Status(ErrorCode::kUsage, std::string(type) + ": struct_size is " + std::to_string(said) +
                                       ", expected " + std::to_string(expected) +
                                       " or more; set it to sizeof(" + type + ")");
}

Status Describe(const TensorInfo& tensor, uint64_t stored_bytes, nwc_tensor_info* out) {
  nwc_tensor_info info{};
  info.name = tensor.name.c_str();
  info.profile = ProfileName(tensor.profile());
  std::copy(tensor.shape.begin(), tensor.shape.end(), info.shape);
  info.rows = tensor.rows;
  info.columns = tensor.columns;
  info.decoded_bytes = tensor.decoded_bytes();
  info.stored_bytes = stored_bytes;
  if (tensor.weights() > 0) {
    info.bits = 8 * static_cast<double>(stored_bytes) / static_cast<double>(tensor.weights());
  }
  const auto layer = LayerNumber(tensor.name);
  info.layer = layer && *layer <= INT64_MAX ? static_cast<int64_t>(*layer) : -1;
  info.dtype = static_cast<nwc_dtype>(tensor.dtype);
  info.dimensions = static_cast<int32_t>(tensor.shape.size());
  info.supported = tensor.supported() ? 1 : 0;
  info.linear = tensor.linear ? 1 : 0;
  return CopyOut("nwc_tensor_info", info, out);
}

TensorSlice SliceFrom(const nwc_slice* slice) {
  if (slice == nullptr) return {};
  return {slice->row_begin, slice->row_end, slice->column_begin, slice->column_end};
}

nwc_slice SliceTo(const TensorSlice& slice) {
  return {slice.row_begin, slice.row_end, slice.column_begin, slice.column_end};
}

}  // namespace nwc

const char* nwc_error_message() { return nwc::last_error.message.c_str(); }
int32_t nwc_error_rule() { return nwc::last_error.rule; }
