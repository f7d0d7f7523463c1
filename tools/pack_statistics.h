// Which calibration statistics a pack works with.
#pragma once

#include <memory>
#include <string>

#include "tools/checkpoint.h"
#include "tools/pack_arguments.h"
#include "tools/statistics_file.h"
#include "tools/temporary_file.h"
#include "tools/work_folder.h"

namespace nwc {

struct PackStatistics {
  std::unique_ptr<TemporaryFile> made;         // what calibration wrote, when nobody keeps it
  std::unique_ptr<StatisticsFile> statistics;  // null: none asked for
};

// Opens --stats, or runs --calibration, unless `work` (may be null) has its result from an earlier
// run.
Result<PackStatistics> StatisticsFor(const PackArguments& arguments, const Checkpoint& checkpoint,
                                     const WorkFolder* work);

}  // namespace nwc
