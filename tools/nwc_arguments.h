// The command line of nwc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "format/status.h"

namespace nwc {

// What a command line asks for: a command to run, or a text to print and leave.
struct NwcCommand {
  std::function<Status()> run;  // empty: print `text`
  std::string text;             // of --help or --version
};

// The command line without the program's name. kUsage with what is wrong and what was expected.
Result<NwcCommand> ParseNwcArguments(const std::vector<std::string>& command_line);

}  // namespace nwc
