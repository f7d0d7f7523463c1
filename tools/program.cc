#include "tools/program.h"

#include <signal.h>

#include <cstdio>
#include <exception>
#include <new>

#include "tools/report_text.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

std::string NextStep(const std::string& program, const Status& status) {
  if (status.message().find(';') != std::string::npos) return "";
  switch (status.code()) {
    case ErrorCode::kCorrupt:
      return "; the file is damaged or incomplete: fetch it again";
    case ErrorCode::kUnsupported:
      return "; this version cannot read it: use a newer " + program;
    case ErrorCode::kUsage:
    case ErrorCode::kNotFound:
      return "; see " + program + " --help";
    case ErrorCode::kIo:
      return "; check path, permissions and the disk, then run it again";
    case ErrorCode::kOutOfMemory:
      return "; use a machine with more memory, or fewer --threads";
    default:
      return "; please report this with the command line";
  }
}

int Stopped(const std::string& program) {
  const int signal = StopSignal();
  const char* name = signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGHUP";
  std::fprintf(stderr, "%s: stopped by %s, no output was written; run it again\n", program.c_str(),
               name);
  return 128 + signal;
}

Status RunCatching(const std::vector<std::string>& arguments,
                   const std::function<Status(const std::vector<std::string>&)>& work) {
  try {
    return work(arguments);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory, "not enough memory");
  } catch (const std::exception& e) {
    return Status(ErrorCode::kInternal, e.what());
  }
}

}  // namespace

int Fail(const std::string& program, const Status& status) {
  const std::string rule =
      status.rule() == 0 ? "" : " (rule R" + std::to_string(status.rule()) + ")";
  std::fprintf(stderr, "%s: %s%s%s\n", program.c_str(), Printable(status.message()).c_str(),
               NextStep(program, status).c_str(), rule.c_str());
  return ExitCode(status.code());
}

int RunProgram(const std::string& program, int argc, char** argv,
               const std::function<Status(const std::vector<std::string>&)>& work) {
  const std::vector<std::string> arguments(argv + (argc > 0), argv + argc);
  const Status status = RunCatching(arguments, work);
  if (status.ok()) return 0;
  if (status.code() == ErrorCode::kCancelled && StopSignal() != 0) return Stopped(program);
  return Fail(program, status);
}

}  // namespace nwc
