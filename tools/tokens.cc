#include "tools/tokens.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tools/checkpoint.h"
#include "tools/python_script.h"
#include "tools/temporary_file.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScript = "tokenize_text.py";

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

struct Integers {
  std::vector<uint64_t> shape;
  std::vector<int64_t> values;
};

// The I32 or I64 tensor `name`; nothing when it is not there.
Result<std::optional<Integers>> ReadIntegers(const Checkpoint& file, const std::string& name) {
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const SourceTensor& tensor = file.tensors()[i];
    if (tensor.name != name) continue;
    if (tensor.dtype != DType::kI32 && tensor.dtype != DType::kI64) {
      return Usage(name + " is of type " + DTypeName(tensor.dtype) + ", expected I32 or I64");
    }
    size_t count = 1;  // fits: the header was checked against the file's size
    for (const uint64_t size : tensor.shape) count *= size;
    const size_t width = DTypeSize(tensor.dtype);
    std::vector<uint8_t> bytes(count * width);
    NWC_RETURN_IF_ERROR(file.Read(i, bytes));
    Integers result{tensor.shape, std::vector<int64_t>(count)};
    for (size_t k = 0; k < count; ++k) {
      result.values[k] = width == 4 ? int64_t{LoadLittle<int32_t>(&bytes[k * width])}
                                    : LoadLittle<int64_t>(&bytes[k * width]);
    }
    return std::optional<Integers>(std::move(result));
  }
  return std::optional<Integers>();
}

Result<std::vector<int32_t>> ToTokens(const std::vector<int64_t>& values, size_t count) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) {
    if (values[i] < 0 || values[i] > std::numeric_limits<int32_t>::max()) {
      return Usage("input_ids holds " + std::to_string(values[i]) + " at position " +
                   std::to_string(i) + ", expected token numbers from 0");
    }
    tokens[i] = static_cast<int32_t>(values[i]);
  }
  return tokens;
}

// "has 20 tokens, expected at least 24576: 24 windows of 1024".
Status TooShort(const TokenRequest& request, size_t have) {
  return Usage("has " + std::to_string(have) + " tokens, expected at least " +
               std::to_string(request.windows * request.length) + ": " +
               std::to_string(request.windows) + " windows of " + std::to_string(request.length) +
               "; choose a smaller --windows or --length, or a longer text");
}

Result<TokenWindows> CutStream(const TokenRequest& request, const Integers& ids) {
  const size_t wanted = request.windows * request.length;
  if (ids.values.size() < wanted) return TooShort(request, ids.values.size());
  TokenWindows result{request.windows, request.length, {}, {}};
  NWC_ASSIGN_OR_RETURN(result.ids, ToTokens(ids.values, wanted));
  return result;
}

Result<TokenWindows> PartByBegins(const TokenRequest& request, const Integers& ids,
                                  const std::vector<int64_t>& begins) {
  const size_t have = begins.empty() ? 0 : begins.size() - 1;
  if (have < request.windows) {
    return Usage("has " + std::to_string(have) + " sentences of some words, expected at least " +
                 std::to_string(request.windows) +
                 "; choose a smaller --windows, or a longer text");
  }
  TokenWindows result{request.windows, 0, {}, {0}};
  for (size_t i = 0; i < request.windows; ++i) {
    if (begins[0] != 0 || begins[i + 1] <= begins[i] ||
        static_cast<uint64_t>(begins[i + 1]) > ids.values.size()) {
      return Usage("begins has a wrong value at position " + std::to_string(i + 1) +
                   ", expected ascending positions in input_ids from 0");
    }
    result.begins.push_back(static_cast<size_t>(begins[i + 1]));
    result.length = std::max(result.length, result.begins[i + 1] - result.begins[i]);
  }
  NWC_ASSIGN_OR_RETURN(result.ids, ToTokens(ids.values, result.begins.back()));
  return result;
}

Result<TokenWindows> FromFile(const TokenRequest& request, const Checkpoint& file) {
  NWC_ASSIGN_OR_RETURN(const auto ids, ReadIntegers(file, "input_ids"));
  if (!ids) return Usage("no tensor input_ids, expected the tokens in it, as I32 or I64");
  NWC_ASSIGN_OR_RETURN(const auto begins, ReadIntegers(file, "begins"));
  if (ids->shape.size() == 1) {
    return begins ? PartByBegins(request, *ids, begins->values) : CutStream(request, *ids);
  }
  if (ids->shape.size() != 2 || ids->values.empty()) {
    return Usage("input_ids has a shape of no use, expected a stream, or windows × length");
  }
  TokenWindows result{ids->shape[0], ids->shape[1], {}, {}};
  NWC_ASSIGN_OR_RETURN(result.ids, ToTokens(ids->values, ids->values.size()));
  return result;
}

Result<TokenWindows> ReadSafetensors(const TokenRequest& request, const std::string& path) {
  const auto file = Checkpoint::Open(path);
  if (!file.ok()) {
    const Status& status = file.status();
    const bool missing = status.code() == ErrorCode::kNotFound;
    return missing ? Status(ErrorCode::kIo, status.message()) : status;
  }
  auto tokens = FromFile(request, **file);
  if (!tokens.ok()) return tokens.status().WithContext(request.path);
  return tokens;
}

ErrorCode CodeOf(const ScriptOutcome& outcome) {
  switch (outcome.exit_code) {
    case 1:
      return ErrorCode::kCorrupt;
    case 2:
      return ErrorCode::kUsage;
    default:
      return ErrorCode::kIo;
  }
}

Result<TokenWindows> Tokenize(const TokenRequest& request) {
  const fs::path tokenizer = fs::path(request.model_folder) / "tokenizer.json";
  std::error_code error;
  if (!fs::is_regular_file(tokenizer, error)) {
    return Status(ErrorCode::kIo, tokenizer.string() +
                                      ": not there, but text needs it; put the model's "
                                      "tokenizer.json there, or give tokens as .safetensors");
  }
  NWC_ASSIGN_OR_RETURN(const auto output, TemporaryFile::Create(".safetensors"));
  std::vector<std::string> arguments = {"--tokenizer", tokenizer.string(),
                                        "--text",      request.path,
                                        "--output",    output->path(),
                                        "--windows",   std::to_string(request.windows),
                                        "--length",    std::to_string(request.length)};
  if (request.sentences) arguments.emplace_back("--sentences");
  NWC_ASSIGN_OR_RETURN(const ScriptOutcome outcome, RunPythonScript(kScript, arguments));
  if (outcome.exit_code != 0) return Status(CodeOf(outcome), outcome.message);
  return ReadSafetensors(request, output->path());
}

}  // namespace

TokenRequest RequestFor(const ModelFacts& facts, size_t windows, size_t length,
                        size_t windows_of_text, size_t sentences) {
  TokenRequest request;
  request.sentences = facts.encoder;
  request.windows = windows != 0 ? windows : facts.encoder ? sentences : windows_of_text;
  request.length = length != 0 ? length : facts.encoder ? 256 : 1024;
  if (length == 0) request.length = std::min(request.length, facts.max_length);
  return request;
}

Result<TokenWindows> ReadTokens(const TokenRequest& request) {
  if (request.windows == 0 || request.length == 0) {
    return Usage("no windows, expected at least one window of one token");
  }
  if (request.windows > std::numeric_limits<size_t>::max() / 64 / request.length) {
    return Usage("windows × length is too large");
  }
  if (request.path.ends_with(".safetensors")) return ReadSafetensors(request, request.path);
  return Tokenize(request);
}

}  // namespace nwc
