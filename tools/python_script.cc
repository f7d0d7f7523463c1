#include "tools/python_script.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tools/stop_signals.h"

#ifndef NWC_SCRIPT_FOLDER
#error "define NWC_SCRIPT_FOLDER, the folder of the scripts in the source tree, as a string"
#endif

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr int kPollMilliseconds = 100;
constexpr size_t kMaxMessage = 16 << 10;  // bytes

Status SystemError(const std::string& what, int error) {
  return Status(ErrorCode::kIo, what + ": " + std::strerror(error));
}

Result<std::string> FindScript(const std::string& name) {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = program.parent_path().parent_path() / "share" / "nwc" / name;
  for (const fs::path& path : {installed, fs::path(NWC_SCRIPT_FOLDER) / name}) {
    if (fs::is_regular_file(path, error)) return path.string();
  }
  return Status(ErrorCode::kIo, installed.string() + ": not there, but the program needs it; " +
                                    "install the programs together with their scripts");
}

// Starts the command with standard output and error into `output`.
Result<pid_t> Start(const std::vector<std::string>& command, int output) {
  std::vector<char*> arguments;
  for (const std::string& text : command) arguments.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return Status(ErrorCode::kIo, "cannot run " + command[0] + ": " + std::strerror(error) +
                                      "; install Python 3, or name an interpreter in NWC_PYTHON");
  }
  return child;
}

// All that comes out of `pipe` until the child closes it; its first bytes are kept.
std::string Collect(int pipe, pid_t child) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (true) {
    pollfd waiting{pipe, POLLIN, 0};
    const int ready = poll(&waiting, 1, kPollMilliseconds);
    if (StopRequested()) kill(child, SIGTERM);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t got = read(pipe, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (text.size() < kMaxMessage) text.append(buffer.data(), static_cast<size_t>(got));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Result<int> Wait(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return SystemError("waiting for Python", errno);
  }
  if (StopRequested()) return Status(ErrorCode::kCancelled, "stopped while Python ran");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return Status(ErrorCode::kIo, "Python was killed by signal " + std::to_string(WTERMSIG(status)));
}

}  // namespace

Result<ScriptOutcome> RunPythonScript(const std::string& name,
                                      const std::vector<std::string>& arguments) {
  NWC_ASSIGN_OR_RETURN(const std::string script, FindScript(name));
  const char* chosen = std::getenv("NWC_PYTHON");
  std::vector<std::string> command = {chosen != nullptr && *chosen != '\0' ? chosen : "python3",
                                      script};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return SystemError("cannot make a pipe", errno);
  const auto child = Start(command, ends[1]);
  close(ends[1]);
  if (!child.ok()) {
    close(ends[0]);
    return child.status();
  }
  ScriptOutcome outcome;
  outcome.message = Collect(ends[0], *child);
  close(ends[0]);
  NWC_ASSIGN_OR_RETURN(outcome.exit_code, Wait(*child));
  return outcome;
}

}  // namespace nwc
