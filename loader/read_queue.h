// One queue of asynchronous reads over io_uring or, where that is refused, threads with pread.
// Used by one thread, Interrupt by any.
#pragma once

#include <memory>
#include <string>

#include "loader/byte_source.h"
#include "loader/loader.h"
#include "loader/pread_reader.h"
#include "loader/read_request.h"
#include "loader/uring_reader.h"

namespace nwc {

inline constexpr size_t kReadsInFlight = 16;

// How a loader reads, decided once when it opens.
struct IoChoice {
  bool uring = false;
  bool required = false;    // no falling back to pread
  std::string description;  // Loader::io_description()
};

// Asks the kernel whether it allows io_uring. kIo when io_uring was asked for and is refused,
// kUsage when NWC_IO has an unknown value.
Result<IoChoice> ChooseIo(const ByteSource& source, IoMode mode);

class ReadQueue {
 public:
  // Destinations lie inside `staging`, which outlives the queue, as does `source`.
  static Result<std::unique_ptr<ReadQueue>> Create(const ByteSource& source, const IoChoice& choice,
                                                   size_t depth, MutableByteSpan staging);

  void Submit(const ReadRequest& request);  // has_room()
  ReadCompletion Wait();                    // in_flight() > 0
  // Ends what can end early: later Waits may give kCancelled. io_uring's reads run to their end.
  void Interrupt();
  [[nodiscard]] size_t in_flight() const;
  [[nodiscard]] bool has_room() const { return in_flight() < depth_; }
  [[nodiscard]] bool uses_uring() const { return uring_ != nullptr; }
  // Ends all reads in flight. False when their destinations must never be freed: see UringReader.
  bool Drain();

 private:
  explicit ReadQueue(size_t depth) : depth_(depth) {}

  size_t depth_;
  std::unique_ptr<UringReader> uring_;  // exactly one of the two is set
  std::unique_ptr<PreadReader> pread_;
};

}  // namespace nwc
