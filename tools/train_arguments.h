// The command line of nwc-train.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "encoder/neural_training.h"
#include "encoder/table_training.h"
#include "format/status.h"

namespace nwc {

enum class TrainArchitecture : uint8_t { kStream, kNeural };

struct TrainArguments {
  std::vector<std::string> checkpoints;
  std::string output;
  TrainArchitecture architecture = TrainArchitecture::kStream;
  TrainingOptions stream;
  NeuralTrainingOptions neural;
  std::string log;      // of the training as JSON lines, or empty
  bool resume = false;  // from output + ".state"
  bool force = false, quiet = false;
};

// What a command line asks for: `arguments` to run with, or a text to print and leave.
struct TrainCommand {
  std::optional<TrainArguments> arguments;
  std::string text;  // of --help
};

// The command line without the program's name. kUsage with what is wrong and what was expected,
// also for options that the chosen --arch does not have.
Result<TrainCommand> ParseTrainArguments(const std::vector<std::string>& command_line);

}  // namespace nwc
