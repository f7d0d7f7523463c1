// What nwc-pack tells about a pack: table, JSON, notes and summary. Pure functions.
#pragma once

#include <string>

#include "encoder/encoder.h"

namespace nwc {

// A table of tensors with totals, for a dry run.
std::string FormatPlanTable(const PackReport& report);

struct PackOutcome {
  std::string file;  // empty in a dry run
  PackReport report;
  double seconds = 0;
};

// One JSON object, ending in a newline.
std::string FormatReportJson(const PackOutcome& outcome);

// A line for each tensor with a note; may be empty.
std::string FormatNotes(const PackReport& report);

// One line: sizes, ratio, bits a weight of linear tensors, time and speed.
std::string FormatSummary(const PackOutcome& outcome);

}  // namespace nwc
