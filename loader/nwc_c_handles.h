// What stands behind the handles of loader/nwc.h, and how its functions report errors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "loader/model_loader.h"
#include "loader/nwc.h"

struct nwc_model {
  std::shared_ptr<const nwc::ModelLoader> loader;
  std::string io;
};

struct nwc_tensor {
  nwc::Tensor tensor;
  uint64_t stored_bytes = 0;  // tensor.info has no chunk list to count them by
};

struct nwc_view {
  const nwc_tensor& tensor;
};

namespace nwc {

// Keeps an error for nwc_error_message() on this thread; returns its code.
nwc_code Report(const Status& status) noexcept;

// Runs `body`, which returns a Status and may throw, and reports it.
template <typename Body>
nwc_code Guarded(const Body& body) noexcept {
  try {
    return Report(body());
  } catch (const std::bad_alloc&) {
    return Report(Status(ErrorCode::kOutOfMemory, "no memory"));  // needs no allocation
  } catch (...) {
    return Report(Status(ErrorCode::kInternal, "internal error"));
  }
}

// "FUNCTION: ARGUMENT is NULL".
Status NullArgument(const char* function, const char* argument);
Status WrongStructSize(const char* type, size_t said, size_t expected);

// Fills in the caller's structure, which may be longer than ours.
template <typename Struct>
Status CopyOut(const char* type, Struct filled, Struct* out) {
  const size_t room = out->struct_size;
  if (room < sizeof(Struct)) return WrongStructSize(type, room, sizeof(Struct));
  std::memset(out, 0, room);
  filled.struct_size = room;
  std::memcpy(out, &filled, sizeof(Struct));
  return {};
}

Status Describe(const TensorInfo& tensor, uint64_t stored_bytes, nwc_tensor_info* out);

TensorSlice SliceFrom(const nwc_slice* slice);  // null: all
nwc_slice SliceTo(const TensorSlice& slice);

}  // namespace nwc
