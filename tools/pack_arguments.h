// The command line of nwc-pack.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "format/status.h"

namespace nwc {

struct PackArguments {
  std::string input;   // a folder or a .safetensors file
  std::string output;  // may be empty in a dry run
  PackOptions options;
  bool dry_run = false;
  bool force = false;
  bool quiet = false;
  bool json = false;
};

// What a command line asks for: `arguments` to run with, or a text to print and leave.
struct PackCommand {
  std::optional<PackArguments> arguments;
  std::string text;  // of --help or --version
};

// The command line without the program's name. kUsage with what is wrong and what was expected.
Result<PackCommand> ParsePackArguments(const std::vector<std::string>& command_line);

// 'REGEX=PROFILE[:BITS]', split at the last '=' that a profile follows.
Result<PackRule> ParsePackRule(const std::string& text);

// "nwc-pack <version>".
std::string PackProducer();

}  // namespace nwc
