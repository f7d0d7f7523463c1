// Loads every tensor of a model and says how many bytes they have: load_cc MODEL
#include "loader/loader.h"

#include <cstdio>
#include <utility>

namespace {

nwc::Result<size_t> DecodedBytes(const char* path) {
  nwc::LoadOptions options;
  options.verify_decoded = true;
  NWC_ASSIGN_OR_RETURN(const auto loader, nwc::Loader::Open(path, options));
  size_t bytes = 0;
  NWC_RETURN_IF_ERROR(loader->Stream(loader->All(), [&](nwc::Tensor tensor) {
    bytes += tensor.bytes.size();
    return nwc::Status();
  }));
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto bytes = DecodedBytes(argv[1]);
  if (!bytes.ok()) {
    std::fprintf(stderr, "%s\n", bytes.status().message().c_str());
    return 1;
  }
  std::printf("decoded %zu bytes\n", *bytes);
  return 0;
}
