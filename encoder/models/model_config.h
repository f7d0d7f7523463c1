// What config.json says about a transformer, checked, with Hugging Face's defaults filled in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/status.h"

namespace nwc {

enum class Architecture : uint8_t { kLlama, kMistral, kQwen2, kQwen3, kBert };

// Rotary position embedding (Su et al., arXiv 2104.09864, eq. 34) and how its frequencies are
// stretched for long windows.
struct RopeConfig {
  enum class Scaling : uint8_t {
    kNone,
    kLinear,  // frequencies divided by `factor` (arXiv 2306.15595, eq. 4)
    kLlama3,  // low frequencies divided, high ones kept, a ramp between (arXiv 2407.21783)
  };
  double theta = 10000;
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  // kLlama3 alone; wavelengths are original_length / factor positions.
  double low_frequency_factor = 1, high_frequency_factor = 4;
  double original_length = 8192;
};

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  int layers = 0;
  int64_t vocabulary = 0, hidden = 0, intermediate = 0;
  int64_t heads = 0, key_value_heads = 0, head_size = 0;
  int64_t max_length = 0;  // positions
  double norm_epsilon = 0;
  bool tied_head = false;       // the head is the embedding table
  bool query_key_norm = false;  // RMSNorm of each head's queries and keys
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  // One a layer: how many positions attention sees, itself included; 0: all. Empty in encoders.
  std::vector<int64_t> sliding_window;
  RopeConfig rope;
  int64_t token_types = 0;  // BERT alone

  [[nodiscard]] bool is_encoder() const { return architecture == Architecture::kBert; }
};

// `text` is the content of config.json. kUsage names a field that is missing, of a wrong type or
// out of range; kUnsupported names what no model here does.
Result<ModelConfig> ParseModelConfig(const std::string& text);

}  // namespace nwc
