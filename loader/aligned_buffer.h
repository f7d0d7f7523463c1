// Owned, 64-byte aligned memory whose allocation can fail without an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
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
      : block_(std::move(other.block_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    block_ = std::move(other.block_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  // Uninitialised memory; kOutOfMemory when there is none.
  static Result<AlignedBuffer> Allocate(size_t size_bytes, size_t alignment = kAlignment) {
    AlignedBuffer buffer;
    if (size_bytes == 0) return buffer;
    // Not aligned_alloc: in glibc a block that it gave and that was freed seldom serves its next
    // call for the same size, so that a stream of tensors would take more and more memory.
    if (const size_t all = size_bytes + alignment - 1; all >= size_bytes) {
      buffer.block_.reset(static_cast<uint8_t*>(::operator new(all, std::nothrow)));
    }
    if (buffer.block_ == nullptr) {
      return Status(ErrorCode::kOutOfMemory,
                    "no memory for " + std::to_string(size_bytes) + " bytes");
    }
    const auto address = reinterpret_cast<uintptr_t>(buffer.block_.get());
    buffer.data_ = buffer.block_.get() + (AlignUp(address, alignment) - address);
    buffer.size_ = size_bytes;
    return buffer;
  }

  [[nodiscard]] uint8_t* data() { return data_; }
  [[nodiscard]] const uint8_t* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] ByteSpan span() const { return {data_, size_}; }
  [[nodiscard]] MutableByteSpan mutable_span() { return {data_, size_}; }

 private:
  struct Free {
    void operator()(uint8_t* p) const { ::operator delete(p); }
  };
  std::unique_ptr<uint8_t, Free> block_;  // data_ lies in it
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace nwc
