// How a loader reads its payload: chosen once, when it opens.
#pragma once

#include <memory>
#include <string>

#include "loader/byte_source.h"
#include "loader/descriptor.h"
#include "loader/file_facts.h"
#include "loader/io_mode.h"
#include "loader/mapped_source.h"
#include "loader/read_request.h"

namespace nwc {

struct IoChoice {
  IoMode mode = IoMode::kPread;  // never kAuto; kPread also for sources that are no files
  bool required = false;         // asked for: no falling back
  ReadFrom from;                 // for requests; `source` outlives the choice
  size_t parallel_reads = 4;     // threads where io_uring does not read
  std::string description;       // Loader::io_description()

  Descriptor direct;                     // what from.direct stands for
  std::unique_ptr<MappedSource> mapped;  // what from.source stands for in mode kMmap

  [[nodiscard]] bool uses_uring() const {
    return mode == IoMode::kUring || mode == IoMode::kDirect;
  }
};

struct AutoDecision {
  IoMode mode = IoMode::kPread;
  std::string why;
};
// What kAuto does with a file. Pure.
AutoDecision DecideAuto(const FileFacts& facts);

// What is asked for by `mode`, or for kAuto by NWC_IO of the environment, or else what suits the
// file: DecideAuto, and what the system does not refuse. kIo when a mode that was asked for is
// refused, with the reason; kUsage when NWC_IO has an unknown value, or `mode` needs a file and
// `source` is none.
Result<IoChoice> ChooseIo(const ByteSource& source, IoMode mode);

}  // namespace nwc
