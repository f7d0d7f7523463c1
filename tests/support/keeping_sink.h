// A sink that keeps a container in memory, for tests.
#pragma once

#include <algorithm>
#include <vector>

#include "format/writer.h"

namespace nwc {

class KeepingSink : public ByteSink {
 public:
  Status Append(ByteSpan part) override {
    bytes.insert(bytes.end(), part.begin(), part.end());
    return {};
  }
  Status Commit(ByteSpan first) override {
    std::copy(first.begin(), first.end(), bytes.begin());
    committed = true;
    return {};
  }
  std::vector<uint8_t> bytes;
  bool committed = false;
};

}  // namespace nwc
