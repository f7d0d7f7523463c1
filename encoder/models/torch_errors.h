// LibTorch reports with exceptions, this project with Status: the border between them.
#pragma once

#include <torch/torch.h>

#include <new>
#include <string>
#include <utility>

#include "format/status.h"

namespace nwc {

// Runs work(), which returns a Status or a Result, and turns what LibTorch throws into kOutOfMemory
// or kInternal.
template <typename Work>
auto CatchTorchErrors(Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const c10::OutOfMemoryError& e) {
    return Status(ErrorCode::kOutOfMemory, e.what_without_backtrace());
  } catch (const c10::Error& e) {
    const std::string message = e.what_without_backtrace();
    // The CPU allocator has no exception of its own.
    const bool memory = message.find("allocate memory") != std::string::npos;
    return Status(memory ? ErrorCode::kOutOfMemory : ErrorCode::kInternal, "LibTorch: " + message);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory, "not enough memory");
  }
}

}  // namespace nwc
