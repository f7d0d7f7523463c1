// What nwc-train tells about a training. Pure functions.
#pragma once

#include <string>

#include "encoder/neural_training.h"
#include "encoder/table_training.h"

namespace nwc {

// A table of what the tables of `stream` achieve.
std::string FormatTableReport(const TrainingResult& result);

// A table of what each quality of a neural codec achieves.
std::string FormatNeuralReport(const NeuralTrainingResult& result);

// Options, report and validation curve as a JSON object of one line.
std::string NeuralTrainingJson(const NeuralTrainingOptions& options,
                               const NeuralTrainingResult& result);

// JSON objects of one line, ending in a newline.
std::string LogLineJson(const NeuralLogLine& line);
std::string ValidationJson(const NeuralValidation& validation);

// "nwc 16/512x4/16 lambda 145".
std::string NeuralCodecName(const NeuralTrainingOptions& options);

}  // namespace nwc
