// Owned, 64-byte aligned memory whose allocation can fail without an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  // Uninitialised memory; kOutOfMemory when there is none.
  static Result<AlignedBuffer> Allocate(size_t size_bytes, size_t alignment = kAlignment) {
    AlignedBuffer buffer;
    if (size_bytes == 0) return buffer;
    const size_t rounded = (size_bytes + alignment - 1) / alignment * alignment;
    if (rounded >= size_bytes) {
      buffer.data_.reset(static_cast<uint8_t*>(std::aligned_alloc(alignment, rounded)));
    }
    if (buffer.data_ == nullptr) {
      return Status(ErrorCode::kOutOfMemory,
                    "no memory for " + std::to_string(size_bytes) + " bytes");
    }
    buffer.size_ = size_bytes;
    return buffer;
  }

  [[nodiscard]] uint8_t* data() { return data_.get(); }
  [[nodiscard]] const uint8_t* data() const { return data_.get(); }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] ByteSpan span() const { return {data_.get(), size_}; }
  [[nodiscard]] MutableByteSpan mutable_span() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint8_t, Free> data_;
  size_t size_ = 0;
};

}  // namespace nwc
