// The command line of nwc-eval.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "encoder/evaluation.h"
#include "format/status.h"

namespace nwc {

struct EvalArguments {
  std::string model;                // folder of the original checkpoint
  std::vector<std::string> packed;  // containers, folders or .safetensors files
  std::string text;                 // UTF-8, or .safetensors with tokens
  size_t windows = 0, length = 0;   // 0: what suits the kind of model
  EvaluationOptions options;
  bool quiet = false;
  bool json = false;
};

// What a command line asks for: `arguments` to run with, or a text to print and leave.
struct EvalCommand {
  std::optional<EvalArguments> arguments;
  std::string text;  // of --help or --version
};

// The command line without the program's name. kUsage with what is wrong and what was expected.
Result<EvalCommand> ParseEvalArguments(const std::vector<std::string>& command_line);

}  // namespace nwc
