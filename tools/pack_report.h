// What nwc-pack tells about a pack: table, JSON, notes and summary. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "tools/report_page.h"
#include "tools/stage_times.h"

namespace nwc {

// A table of tensors with totals, for a dry run.
std::string FormatPlanTable(const PackReport& report);

// What --recover gained on windows that it did not tune on.
struct RecoveryFigures {
  bool encoder = false;          // a sentence encoder: 1 − mean cosine, else nats a token
  double before = 0, after = 0;  // loss of the packed model
  int epochs = 0;
};

struct PackOutcome {
  std::string file;  // the container or the index of a set; empty in a dry run
  PackReport report;
  double seconds = 0;
  std::optional<double> kl = std::nullopt;  // measured for --kl, nats a token
  std::optional<RecoveryFigures> recovery = std::nullopt;
  std::vector<std::string> shards = {};   // names, of a set
  std::vector<StageSeconds> stages = {};  // in `seconds` altogether; empty in a dry run
};

// What the page of tools/report_page.h shows of a pack.
PackFacts FactsOf(const PackOutcome& outcome);

// Adds the stages of one pack; those that took no time are left out.
void AddStages(const PackSeconds& seconds, StageTimes* times);

// One JSON object, ending in a newline.
std::string FormatReportJson(const PackOutcome& outcome);

// A line for each tensor with a note; may be empty.
std::string FormatNotes(const PackReport& report);

// One line: sizes, ratio, bits a weight of linear tensors, time and speed.
std::string FormatSummary(const PackOutcome& outcome);

}  // namespace nwc
