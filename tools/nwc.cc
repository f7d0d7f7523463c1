// nwc: looks into containers, checks them and takes tensors out of them. See nwc --help.
#include <signal.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "tools/nwc_arguments.h"
#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

// What to do next, where the message does not say so.
const char* NextStep(const Status& status) {
  if (status.message().find(';') != std::string::npos) return "";
  switch (status.code()) {
    case ErrorCode::kCorrupt:
      return "; the file is damaged or incomplete: fetch it again";
    case ErrorCode::kUnsupported:
      return "; this version cannot read it: use a newer nwc";
    case ErrorCode::kUsage:
    case ErrorCode::kNotFound:
      return "; see nwc --help";
    case ErrorCode::kIo:
      return "; check path, permissions and the disk, then run it again";
    case ErrorCode::kOutOfMemory:
      return "; use a machine with more memory";
    default:
      return "; please report this with the command line";
  }
}

int Fail(const Status& status) {
  const std::string rule =
      status.rule() == 0 ? "" : " (rule R" + std::to_string(status.rule()) + ")";
  std::fprintf(stderr, "nwc: %s%s%s\n", Printable(status.message()).c_str(), NextStep(status),
               rule.c_str());
  return ExitCode(status.code());
}

int Stopped() {
  const int signal = StopSignal();
  const char* name = signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGHUP";
  std::fprintf(stderr, "nwc: stopped by %s, nothing was written; run it again\n", name);
  return 128 + signal;
}

int Main(const std::vector<std::string>& command_line) {
  const auto command = ParseNwcArguments(command_line);
  if (!command.ok()) return Fail(command.status().WithContext("command line"));
  InstallStopSignals();
  const Status status = command->run ? command->run() : PrintOut(command->text);
  if (status.code() == ErrorCode::kCancelled && StopSignal() != 0) return Stopped();
  return status.ok() ? 0 : Fail(status);
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) {
  try {
    return nwc::Main(std::vector<std::string>(argv + (argc > 0), argv + argc));
  } catch (const std::bad_alloc&) {
    return nwc::Fail(nwc::Status(nwc::ErrorCode::kOutOfMemory, "not enough memory"));
  } catch (const std::exception& e) {
    return nwc::Fail(nwc::Status(nwc::ErrorCode::kInternal, e.what()));
  }
}
