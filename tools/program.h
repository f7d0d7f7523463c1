// What the programs do around their work: errors, signals and exceptions become a message on
// standard error and an exit code.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "format/status.h"

namespace nwc {

// Prints "<program>: <message>" with what to do next, where the message does not say so; returns
// the exit code.
int Fail(const std::string& program, const Status& status);

// Runs `work` on the arguments after the program's name. Exit codes: ExitCode(), or 128 + signal
// when a signal of tools/stop_signals.h ended the work.
int RunProgram(const std::string& program, int argc, char** argv,
               const std::function<Status(const std::vector<std::string>&)>& work);

}  // namespace nwc
