// Streams a container and prints the peak resident memory of this process in bytes:
// load_peak FILE MODE STAGING_BYTES keep|drop. For load_memory_test.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "loader/loader.h"

namespace nwc {
namespace {

// Of this program alone: getrusage counts what was there before exec.
uint64_t PeakResidentBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  return 0;
}

Status Run(const std::string& path, const LoadOptions& options, bool keep) {
  NWC_ASSIGN_OR_RETURN(const auto loader, Loader::Open(path, options));
  std::vector<Tensor> kept;
  LoadStatistics statistics;
  const auto ready = [&](Tensor tensor) -> Status {
    if (keep) kept.push_back(std::move(tensor));
    return {};
  };
  NWC_RETURN_IF_ERROR(loader->Stream(loader->All(), ready, &statistics));
  std::printf("%llu %llu\n", static_cast<unsigned long long>(PeakResidentBytes()),
              static_cast<unsigned long long>(statistics.peak_staging_bytes));
  return {};
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  nwc::LoadOptions options;
  options.io = nwc::ParseIoMode(argv[2]).value_or(nwc::IoMode::kAuto);
  options.staging_bytes = std::strtoull(argv[3], nullptr, 10);
  options.threads = 2;
  const nwc::Status status = nwc::Run(argv[1], options, std::strcmp(argv[4], "keep") == 0);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : nwc::ExitCode(status.code());
}
