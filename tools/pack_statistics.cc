#include "tools/pack_statistics.h"

#include <filesystem>
#include <utility>

#ifdef NWC_WITH_TORCH
#include "tools/calibrate.h"
#endif

namespace nwc {
namespace {

Result<std::unique_ptr<StatisticsFile>> OpenFor(const Checkpoint& checkpoint,
                                                const std::string& path) {
  NWC_ASSIGN_OR_RETURN(auto statistics, StatisticsFile::Open(path));
  const Status status = statistics->CheckModel(checkpoint);
  if (!status.ok()) return status.WithContext(path);
  return statistics;
}

#ifdef NWC_WITH_TORCH
Status Collect(const PackArguments& arguments, const Checkpoint& checkpoint,
               const std::string& output, bool overwrite) {
  CalibrationRequest request;
  request.model = arguments.input;
  request.text = arguments.calibration;
  request.windows = arguments.windows;
  request.length = arguments.length;
  request.options = {arguments.seed, arguments.options.threads,
                     arguments.cuda ? Device::kCuda : Device::kCpu};
  request.output = output;
  request.overwrite = overwrite;
  Progress progress(arguments.quiet);
  return CalibrateToFile(request, checkpoint, &progress);
}
#else
Status Collect(const PackArguments&, const Checkpoint&, const std::string&, bool) {
  return Status(
      ErrorCode::kUsage,
      "this nwc-pack was built without LibTorch, which --calibration needs; give --stats, "
      "or build with -DNWC_TORCH=ON");
}
#endif

}  // namespace

Result<PackStatistics> StatisticsFor(const PackArguments& arguments, const Checkpoint& checkpoint,
                                     const WorkFolder* work) {
  PackStatistics result;
  if (!arguments.statistics.empty()) {
    NWC_ASSIGN_OR_RETURN(result.statistics, OpenFor(checkpoint, arguments.statistics));
    return result;
  }
  if (arguments.calibration.empty()) return result;
  std::string path = arguments.statistics_output;
  bool ours = false;  // whether an older file there may be replaced
  if (path.empty() && work != nullptr) {
    path = work->StatisticsPath();
    ours = true;
    if (std::filesystem::exists(path)) {
      NWC_ASSIGN_OR_RETURN(result.statistics, OpenFor(checkpoint, path));
      return result;
    }
  } else if (path.empty()) {
    NWC_ASSIGN_OR_RETURN(result.made, TemporaryFile::Create(".safetensors"));
    path = result.made->path();
    ours = true;
  }
  NWC_RETURN_IF_ERROR(Collect(arguments, checkpoint, path, ours || arguments.force));
  NWC_ASSIGN_OR_RETURN(result.statistics, OpenFor(checkpoint, path));
  return result;
}

}  // namespace nwc
