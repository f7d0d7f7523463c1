// Runs the Python scripts that the programs need.
#pragma once

#include <string>
#include <vector>

#include "format/status.h"

namespace nwc {

struct ScriptOutcome {
  int exit_code = 0;
  std::string message;  // what it wrote to standard error, without the last newline
};

// Runs tools/<name> with the interpreter in NWC_PYTHON, or python3: the script where the program
// was built, else ../share/nwc/<name> beside the program. Standard output goes to standard error.
// kIo when script or interpreter are not there, or it was killed; kCancelled when a stop signal
// came, which ends the script too.
Result<ScriptOutcome> RunPythonScript(const std::string& name,
                                      const std::vector<std::string>& arguments);

}  // namespace nwc
