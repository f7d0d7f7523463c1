// The command line of nwc-pack.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "format/status.h"

namespace nwc {

struct PackArguments {
  std::string input;               // a folder or a file of weights
  std::string output;              // may be empty in a dry run
  std::string statistics;          // a file of them, or empty
  std::string calibration;         // a text or tokens to collect statistics on, or empty
  std::string statistics_output;   // where to keep those, or empty
  size_t windows = 0, length = 0;  // of calibration; 0: as suits the model
  uint64_t seed = 1;
  double kl = 0;        // budget in nats a token; 0: options.bits decides
  std::string kl_text;  // to measure it on
  size_t kl_windows = 8;
  bool recover = false;
  int recover_epochs = 4;
  std::string recover_text;  // to recover on; empty: the text of calibration
  std::string settings;      // the options that the bytes of a container depend on, as text
  std::string work;          // folder of finished parts, or empty
  bool cuda = false;
  std::string codec;         // file of a trained codec for profile nwc, or empty
  std::string report;        // page to write about the pack, or empty
  uint64_t shard_bytes = 0;  // largest file of a set; 0: one file
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
