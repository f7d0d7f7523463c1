// Tokens for evaluation and calibration: read from a file, or made of text.
#pragma once

#include <cstddef>
#include <string>

#include "encoder/evaluation.h"
#include "encoder/token_windows.h"
#include "format/status.h"

namespace nwc {

struct TokenRequest {
  std::string path;          // text in UTF-8, or .safetensors
  std::string model_folder;  // has the tokenizer.json for text
  size_t windows = 24;
  size_t length = 1024;    // tokens a window, or at most that many a sentence
  bool sentences = false;  // for sentence encoders: a window for each sentence of text
};

// A request with what suits a kind of model where `windows` or `length` is 0: `windows_of_text`
// windows of 1024 tokens for language models, `sentences` sentences of at most 256 tokens for
// encoders, no longer than the model takes.
TokenRequest RequestFor(const ModelFacts& facts, size_t windows, size_t length,
                        size_t windows_of_text, size_t sentences);

// A .safetensors file holds `input_ids`, I32 or I64: of one dimension, a stream whose beginning is
// cut into consecutive windows, or with `begins` (one more than there are windows) parted by it; of
// two, windows × length, which are used as they are. Text is tokenized by Python with the package
// `tokenizers` (kIo, with the command that installs it, when it is missing): consecutive windows
// from its beginning without special tokens, or sentences with them. kUsage when there is too
// little of it, with what there is and what is needed.
Result<TokenWindows> ReadTokens(const TokenRequest& request);

}  // namespace nwc
