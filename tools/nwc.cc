// nwc: looks into containers, checks them and takes tensors out of them. See nwc --help.
#include <string>
#include <vector>

#include "tools/nwc_arguments.h"
#include "tools/program.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

Status Main(const std::vector<std::string>& command_line) {
  const auto command = ParseNwcArguments(command_line);
  if (!command.ok()) return command.status().WithContext("command line");
  InstallStopSignals();
  return command->run ? command->run() : PrintOut(command->text);
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) { return nwc::RunProgram("nwc", argc, argv, nwc::Main); }
