#include "encoder/models/model_config.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace nwc {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxLayers = 10000;  // more is no model, and would be allocated
constexpr int64_t kMaxSize = std::numeric_limits<int32_t>::max();

Status WrongField(const std::string& name, const std::string& expected) {
  return Status(ErrorCode::kUsage, "config.json: field " + name + ": expected " + expected);
}

// Reads fields and keeps the first error, so that a config is read in one run of plain lines.
class Fields {
 public:
  explicit Fields(const Json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  // The field, or null where it is absent or null, which Hugging Face takes for the default.
  [[nodiscard]] const Json* Find(const std::string& name) const {
    const auto field = object_.find(name);
    return field == object_.end() || field->is_null() ? nullptr : &*field;
  }
  [[nodiscard]] bool Has(const std::string& name) const { return object_.contains(name); }

  int64_t Integer(const std::string& name, int64_t fallback) {
    const Json* field = Find(name);
    if (field == nullptr) return fallback;
    // Unsigned values above 2^63 would wrap; the comparison is made on what JSON holds.
    const bool fits = field->is_number_unsigned() ? field->get<uint64_t>() <= uint64_t{kMaxSize}
                                                  : field->is_number_integer();
    if (!fits || field->get<int64_t>() < 1) {
      Fail(name, "an integer from 1 to " + std::to_string(kMaxSize));
      return fallback;
    }
    return field->get<int64_t>();
  }

  double Positive(const std::string& name, double fallback) {
    const Json* field = Find(name);
    if (field == nullptr) return fallback;
    if (!field->is_number() || !(field->get<double>() > 0)) {
      Fail(name, "a number above 0");
      return fallback;
    }
    return field->get<double>();
  }

  bool Boolean(const std::string& name, bool fallback) {
    const Json* field = Find(name);
    if (field == nullptr) return fallback;
    if (!field->is_boolean()) {
      Fail(name, "true or false");
      return fallback;
    }
    return field->get<bool>();
  }

  std::string Text(const std::string& name, const std::string& fallback) {
    const Json* field = Find(name);
    if (field == nullptr) return fallback;
    if (!field->is_string()) {
      Fail(name, "a string");
      return fallback;
    }
    return field->get<std::string>();
  }

  void Fail(const std::string& name, const std::string& expected) {
    if (status_.ok()) status_ = WrongField(prefix_ + name, expected);
  }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  const Json& object_;
  std::string prefix_;
  Status status_;
};

Status Unsupported(const std::string& field, const std::string& value,
                   const std::string& supported) {
  return Status(ErrorCode::kUnsupported, "config.json: " + field + " '" + value +
                                             "' has no forward pass here; there is " + supported);
}

Result<Architecture> ArchitectureOf(const std::string& type) {
  if (type == "llama") return Architecture::kLlama;
  if (type == "mistral") return Architecture::kMistral;
  if (type == "qwen2") return Architecture::kQwen2;
  if (type == "qwen3") return Architecture::kQwen3;
  if (type == "bert") return Architecture::kBert;
  return Unsupported("model_type", type, "llama, mistral, qwen2, qwen3 and bert");
}

// What Hugging Face's configuration classes take for fields that are not there.
struct Defaults {
  int64_t vocabulary, intermediate, key_value_heads, head_size, max_length;  // 0: from others
};

Defaults DefaultsOf(Architecture architecture) {
  switch (architecture) {
    case Architecture::kMistral:
      return {32000, 14336, 8, 0, 131072};
    case Architecture::kQwen2:
      return {151936, 22016, 32, 0, 32768};
    case Architecture::kQwen3:
      return {151936, 22016, 32, 128, 32768};
    default:
      return {32000, 11008, 0, 0, 2048};
  }
}

Result<RopeConfig::Scaling> ScalingOf(const std::string& type) {
  if (type == "default") return RopeConfig::Scaling::kNone;
  if (type == "linear") return RopeConfig::Scaling::kLinear;
  if (type == "llama3") return RopeConfig::Scaling::kLlama3;
  return Unsupported("rope type", type, "default, linear and llama3");
}

// Both spellings: rope_theta beside rope_scaling, and rope_parameters with everything inside.
Result<RopeConfig> ParseRope(const Json& object, int64_t max_length) {
  Fields top(object);
  RopeConfig rope;
  rope.theta = top.Positive("rope_theta", rope.theta);
  const bool partial = top.Positive("partial_rotary_factor", 1) != 1;
  NWC_RETURN_IF_ERROR(top.status());
  if (partial) return Unsupported("partial_rotary_factor", "below 1", "1");
  const std::string name =
      top.Find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  const Json* inner = top.Find(name);
  if (inner == nullptr) return rope;
  if (!inner->is_object()) return WrongField(name, "an object");

  Fields fields(*inner, name + ".");
  const std::string type = fields.Text("rope_type", fields.Text("type", "default"));
  NWC_RETURN_IF_ERROR(fields.status());
  NWC_ASSIGN_OR_RETURN(rope.scaling, ScalingOf(type));
  rope.theta = fields.Positive("rope_theta", rope.theta);
  if (rope.scaling != RopeConfig::Scaling::kNone) {
    if (fields.Find("factor") == nullptr) fields.Fail("factor", "a number above 0");
    rope.factor = fields.Positive("factor", 1);
  }
  if (rope.scaling == RopeConfig::Scaling::kLlama3) {
    rope.low_frequency_factor = fields.Positive("low_freq_factor", rope.low_frequency_factor);
    rope.high_frequency_factor = fields.Positive("high_freq_factor", rope.high_frequency_factor);
    rope.original_length =
        fields.Positive("original_max_position_embeddings", static_cast<double>(max_length));
    if (rope.high_frequency_factor <= rope.low_frequency_factor) {
      fields.Fail("high_freq_factor", "more than low_freq_factor");
    }
  }
  NWC_RETURN_IF_ERROR(fields.status());
  return rope;
}

// Layers that slide by `layer_types` where the file has them, else by the rules of the older files.
Status ParseSlidingWindows(const Json& object, ModelConfig* config) {
  Fields fields(object);
  config->sliding_window.assign(static_cast<size_t>(config->layers), 0);
  const bool qwen =
      config->architecture == Architecture::kQwen2 || config->architecture == Architecture::kQwen3;
  const bool always = config->architecture == Architecture::kMistral;
  const bool slides = qwen ? fields.Boolean("use_sliding_window", false) : always;
  // An explicit null is "no window" here, unlike in other fields.
  const bool none = fields.Has("sliding_window") && fields.Find("sliding_window") == nullptr;
  const int64_t window = fields.Integer("sliding_window", 4096);
  const int64_t first = always ? 0 : fields.Integer("max_window_layers", 28);
  NWC_RETURN_IF_ERROR(fields.status());
  if (!slides || none) return {};
  const Json* types = fields.Find("layer_types");
  if (types != nullptr && (!types->is_array() || types->size() != config->sliding_window.size())) {
    return WrongField("layer_types", "an array of one string a layer");
  }
  for (size_t i = 0; i < config->sliding_window.size(); ++i) {
    const bool sliding = types != nullptr && !always ? (*types)[i] == "sliding_attention"
                                                     : static_cast<int64_t>(i) >= first;
    if (sliding) config->sliding_window[i] = window;
  }
  return {};
}

Status ParseBiases(const Json& object, ModelConfig* config) {
  Fields fields(object);
  const bool attention_bias = fields.Boolean("attention_bias", false);
  config->mlp_bias = fields.Boolean("mlp_bias", false);
  NWC_RETURN_IF_ERROR(fields.status());
  config->query_key_norm = config->architecture == Architecture::kQwen3;
  switch (config->architecture) {
    case Architecture::kQwen2:
      config->qkv_bias = true;
      config->mlp_bias = false;
      break;
    case Architecture::kLlama:
      config->qkv_bias = config->output_bias = attention_bias;
      break;
    case Architecture::kQwen3:
      config->qkv_bias = config->output_bias = attention_bias;
      config->mlp_bias = false;
      break;
    default:  // Mistral has none
      config->mlp_bias = false;
      break;
  }
  return {};
}

Status CheckHeads(const ModelConfig& config) {
  if (config.layers > kMaxLayers) return WrongField("num_hidden_layers", "at most 10000");
  if (config.heads % config.key_value_heads != 0) {
    return WrongField("num_key_value_heads", "a divisor of num_attention_heads");
  }
  if (!config.is_encoder() && config.head_size % 2 != 0) {
    return WrongField("head_dim", "an even number");
  }
  return {};
}

Result<ModelConfig> ParseDecoder(const Json& object, ModelConfig config) {
  Fields fields(object);
  const Defaults defaults = DefaultsOf(config.architecture);
  config.layers = static_cast<int>(fields.Integer("num_hidden_layers", 32));
  config.vocabulary = fields.Integer("vocab_size", defaults.vocabulary);
  config.hidden = fields.Integer("hidden_size", 4096);
  config.intermediate = fields.Integer("intermediate_size", defaults.intermediate);
  config.heads = fields.Integer("num_attention_heads", 32);
  config.key_value_heads =
      fields.Integer("num_key_value_heads",
                     defaults.key_value_heads > 0 ? defaults.key_value_heads : config.heads);
  config.head_size = fields.Integer(
      "head_dim", defaults.head_size > 0 ? defaults.head_size
                                         : std::max<int64_t>(1, config.hidden / config.heads));
  config.max_length = fields.Integer("max_position_embeddings", defaults.max_length);
  config.norm_epsilon = fields.Positive("rms_norm_eps", 1e-6);
  config.tied_head = fields.Boolean("tie_word_embeddings", false);
  const std::string activation = fields.Text("hidden_act", "silu");
  NWC_RETURN_IF_ERROR(fields.status());
  if (activation != "silu" && activation != "swish") {
    return Unsupported("hidden_act", activation, "silu");
  }
  NWC_RETURN_IF_ERROR(CheckHeads(config));
  NWC_RETURN_IF_ERROR(ParseBiases(object, &config));
  NWC_RETURN_IF_ERROR(ParseSlidingWindows(object, &config));
  NWC_ASSIGN_OR_RETURN(config.rope, ParseRope(object, config.max_length));
  return config;
}

Result<ModelConfig> ParseEncoder(const Json& object, ModelConfig config) {
  Fields fields(object);
  config.layers = static_cast<int>(fields.Integer("num_hidden_layers", 12));
  config.vocabulary = fields.Integer("vocab_size", 30522);
  config.hidden = fields.Integer("hidden_size", 768);
  config.intermediate = fields.Integer("intermediate_size", 3072);
  config.heads = config.key_value_heads = fields.Integer("num_attention_heads", 12);
  config.max_length = fields.Integer("max_position_embeddings", 512);
  config.token_types = fields.Integer("type_vocab_size", 2);
  config.norm_epsilon = fields.Positive("layer_norm_eps", 1e-12);
  config.qkv_bias = config.output_bias = config.mlp_bias = true;
  const std::string activation = fields.Text("hidden_act", "gelu");
  const std::string positions = fields.Text("position_embedding_type", "absolute");
  NWC_RETURN_IF_ERROR(fields.status());
  if (activation != "gelu") return Unsupported("hidden_act", activation, "gelu");
  if (positions != "absolute") {
    return Unsupported("position_embedding_type", positions, "absolute");
  }
  if (config.layers > kMaxLayers) return WrongField("num_hidden_layers", "at most 10000");
  if (config.hidden % config.heads != 0) {
    return WrongField("num_attention_heads", "a divisor of hidden_size");
  }
  config.head_size = config.hidden / config.heads;
  return config;
}

}  // namespace

Result<ModelConfig> ParseModelConfig(const std::string& text) {
  const Json object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return Status(ErrorCode::kUsage, "config.json: expected one JSON object");
  }
  Fields fields(object);
  if (fields.Find("model_type") == nullptr) fields.Fail("model_type", "a string");
  const std::string type = fields.Text("model_type", "");
  NWC_RETURN_IF_ERROR(fields.status());
  ModelConfig config;
  NWC_ASSIGN_OR_RETURN(config.architecture, ArchitectureOf(type));
  return config.is_encoder() ? ParseEncoder(object, config) : ParseDecoder(object, config);
}

}  // namespace nwc
