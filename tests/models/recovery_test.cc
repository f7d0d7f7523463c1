#include "encoder/recovery.h"

#include <cmath>
#include <cstring>
#include <random>

#include "encoder/packed_container.h"
#include "tests/models/reference_models.h"

namespace nwc {
namespace {

constexpr size_t kVocabulary = 128, kHidden = 64, kInner = 128;
constexpr const char* kConfig = R"({
  "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu",
  "vocab_size": 128, "max_position_embeddings": 64, "rms_norm_eps": 1e-06,
  "rope_theta": 10000.0, "tie_word_embeddings": false})";

// A random model in BF16 whose logits spread enough for probabilities that matter.
class RandomModel : public MemoryCheckpoint {
 public:
  RandomModel() {
    Matrix("model.embed_tokens.weight", kVocabulary, kHidden, 1);
    for (int l = 0; l < 2; ++l) {
      const std::string layer = "model.layers." + std::to_string(l) + ".";
      Vector(layer + "input_layernorm.weight");
      Vector(layer + "post_attention_layernorm.weight");
      const double in = 1 / std::sqrt(kHidden);
      Matrix(layer + "self_attn.q_proj.weight", kHidden, kHidden, in);
      Matrix(layer + "self_attn.k_proj.weight", kHidden / 2, kHidden, in);
      Matrix(layer + "self_attn.v_proj.weight", kHidden / 2, kHidden, in);
      Matrix(layer + "self_attn.o_proj.weight", kHidden, kHidden, in);
      Matrix(layer + "mlp.gate_proj.weight", kInner, kHidden, in);
      Matrix(layer + "mlp.up_proj.weight", kInner, kHidden, in);
      Matrix(layer + "mlp.down_proj.weight", kHidden, kInner, 1 / std::sqrt(kInner));
    }
    Vector("model.norm.weight");
    Matrix("lm_head.weight", kVocabulary, kHidden, 2 / std::sqrt(kHidden));
  }

 private:
  void Matrix(const std::string& name, size_t rows, size_t columns, double scale) {
    Random(name, {rows, columns}, rows * columns, 0, scale);
  }
  void Vector(const std::string& name) { Random(name, {kHidden}, kHidden, 1, 0.2); }
  void Random(const std::string& name, std::vector<uint64_t> shape, size_t count, double mean,
              double scale) {
    std::normal_distribution<double> normal(mean, scale);
    std::vector<float> values(count);
    for (float& v : values) v = static_cast<float>(normal(rng_));
    std::vector<uint8_t> bytes(count * 2);
    FromFloat(DType::kBF16, values.data(), count, bytes.data());
    Add(name, DType::kBF16, std::move(shape), std::move(bytes));
  }
  std::mt19937 rng_{5};
};

TokenWindows RandomWindows(size_t count, size_t length) {
  std::mt19937 rng(17);
  TokenWindows windows{count, length, {}, {}};
  for (size_t i = 0; i < count * length; ++i) {
    windows.ids.push_back(static_cast<int32_t>(rng() % kVocabulary));
  }
  return windows;
}

std::vector<uint8_t> Packed(const TensorSource& source, double bits, const std::string& rule,
                            WeightTuner* tuner = nullptr) {
  PackOptions options;
  options.bits = bits;
  options.threads = 1;
  options.tuner = tuner;
  options.rules.push_back({rule, Profile::kStream, 0});
  KeepingSink sink;
  const auto report = Pack(source, {{"config.json", {'{', '}'}}}, options, &sink);
  EXPECT_TRUE(report.ok()) << report.status().ToString();
  return std::move(sink.bytes);
}

std::unique_ptr<PackedContainer> Opened(const std::vector<uint8_t>& bytes) {
  auto container = PackedContainer::Open(
      [&bytes](uint64_t offset, MutableByteSpan out) -> Status {
        std::memcpy(out.data(), &bytes[offset], out.size());
        return {};
      },
      bytes.size(), 1);
  EXPECT_TRUE(container.ok()) << container.status().ToString();
  return std::move(*container);
}

std::vector<uint8_t> Elements(const PackedContainer& container, size_t tensor) {
  std::vector<uint8_t> bytes(container.index().tensors[tensor].decoded_bytes());
  const Status status = container.Read(tensor, bytes);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return bytes;
}

// Parts in memory; stops recovery by an error after so many saves.
class MemoryStore {
 public:
  explicit MemoryStore(int saves) : left_(saves) {
    store.load = [this](const std::string& key) -> Result<std::optional<std::vector<uint8_t>>> {
      const auto found = parts_.find(key);
      if (found == parts_.end()) return std::optional<std::vector<uint8_t>>();
      return std::optional(found->second);
    };
    store.save = [this](const std::string& key, ByteSpan part) -> Status {
      parts_[key].assign(part.begin(), part.end());
      return --left_ == 0 ? Status(ErrorCode::kIo, "stop here") : Status();
    };
  }
  void Spoil() { parts_.begin()->second[40] ^= 1; }
  PackStore store;

 private:
  std::map<std::string, std::vector<uint8_t>> parts_;
  int left_;
};

class RecoveryTest : public testing::Test {
 protected:
  Result<Recovered> Run(const PackStore* store = nullptr) {
    RecoveryOptions options;
    options.epochs = 3;
    options.learning_rate = 5e-3;
    options.threads = 1;
    options.store = store;
    return Recover(kConfig, source_, *container_, windows_, options);
  }
  static void ExpectSame(const Recovered& a, const Recovered& b) {
    EXPECT_EQ(a.gains, b.gains);
    EXPECT_EQ(a.vectors, b.vectors);
    EXPECT_EQ(a.loss_before, b.loss_before);
    EXPECT_EQ(a.loss_after, b.loss_after);
  }

  const RandomModel source_;
  const TokenWindows windows_ = RandomWindows(160, 32);
  const std::vector<uint8_t> bytes_ = Packed(source_, 2, "proj");
  const std::unique_ptr<PackedContainer> container_ = Opened(bytes_);
};

TEST_F(RecoveryTest, LossOnHeldOutWindowsFallsAndTheFileDecodesToIt) {
  const auto found = Run();
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  RecordProperty("before", std::to_string(found->loss_before));
  RecordProperty("after", std::to_string(found->loss_after));
  EXPECT_LT(found->loss_after, 0.95 * found->loss_before)
      << found->loss_before << " -> " << found->loss_after;
  EXPECT_EQ(found->gains.size(), 14u);

  KeepingSink sink;
  const auto index = container_->Rewrite(*found, &sink);
  ASSERT_TRUE(index.ok()) << index.status().ToString();
  const auto rewritten = Opened(sink.bytes);
  TokenWindows held_out{0, windows_.length, {}, {}};
  for (size_t i = 7; i < windows_.windows; i += 8, ++held_out.windows) {
    const auto ids = windows_.Window(i);
    held_out.ids.insert(held_out.ids.end(), ids.begin(), ids.end());
  }
  const EvaluationOptions options{.threads = 1, .device = Device::kCpu};
  const auto measured = Evaluate(kConfig, source_, rewritten.get(), held_out, options);
  ASSERT_TRUE(measured.ok());
  EXPECT_NEAR(measured->kl, found->loss_after, 1e-6 * found->loss_after);
}

TEST_F(RecoveryTest, IndicesStayAndHashesAreOfWhatIsDecoded) {
  const auto found = Run();
  ASSERT_TRUE(found.ok());
  KeepingSink sink;
  ASSERT_TRUE(container_->Rewrite(*found, &sink).ok());
  const auto rewritten = Opened(sink.bytes);
  ASSERT_EQ(rewritten->tensors().size(), container_->tensors().size());
  for (size_t i = 0; i < rewritten->tensors().size(); ++i) {
    const TensorInfo &before = container_->index().tensors[i], &now = rewritten->index().tensors[i];
    EXPECT_EQ(Hash128Of(Elements(*rewritten, i)), now.decoded_hash) << now.name;
    const bool vector = found->vectors.contains(now.name), gains = found->gains.contains(now.name);
    EXPECT_EQ(before.decoded_hash != now.decoded_hash, vector || gains) << now.name;
    EXPECT_EQ(now.stream && now.stream->row_gains, gains) << now.name;
    if (vector) continue;
    ASSERT_EQ(before.chunks.size(), now.chunks.size());
    for (size_t c = 0; c < now.chunks.size(); ++c) {
      EXPECT_EQ(before.chunks[c].hash, now.chunks[c].hash) << now.name;
    }
  }
  EXPECT_EQ(rewritten->index().files.size(), 1u);
}

TEST_F(RecoveryTest, NoChangesGiveTheSameFile) {
  KeepingSink sink;
  ASSERT_TRUE(container_->Rewrite({}, &sink).ok());
  EXPECT_EQ(sink.bytes, bytes_);
}

TEST_F(RecoveryTest, ResumedIsTheSameAsUninterrupted) {
  const auto whole = Run(), again = Run();
  ASSERT_TRUE(whole.ok() && again.ok());
  ExpectSame(*whole, *again);
  for (const int saves : {1, 2}) {
    MemoryStore store(saves);
    EXPECT_EQ(Run(&store.store).status().code(), ErrorCode::kIo);
    const auto resumed = Run(&store.store);
    ASSERT_TRUE(resumed.ok()) << resumed.status().ToString();
    ExpectSame(*whole, *resumed);
  }
  MemoryStore spoiled(1);
  EXPECT_FALSE(Run(&spoiled.store).ok());
  spoiled.Spoil();
  const auto afresh = Run(&spoiled.store);
  ASSERT_TRUE(afresh.ok()) << afresh.status().ToString();
  ExpectSame(*whole, *afresh);
}

TEST_F(RecoveryTest, TuningBlockByBlockLowersTheLossBeforeAndAfterTheLastPass) {
  RecoveryOptions options;
  options.threads = 1;
  const auto tuned = [&](Recovered* found) {
    auto tuner = BlockTuner::Create(kConfig, source_, windows_, options);
    EXPECT_TRUE(tuner.ok()) << tuner.status().ToString();
    std::vector<uint8_t> bytes = Packed(source_, 2, "proj", tuner->get());
    auto finished = (*tuner)->Finish();
    EXPECT_TRUE(finished.ok()) << finished.status().ToString();
    *found = std::move(*finished);
    return bytes;
  };
  Recovered blocks, again;
  const auto bytes = tuned(&blocks);
  EXPECT_EQ(tuned(&again), bytes);
  ExpectSame(again, blocks);
  EXPECT_NE(bytes, bytes_);
  EXPECT_FALSE(blocks.gains.empty());
  EXPECT_FALSE(blocks.vectors.contains("model.norm.weight"));

  const auto container = Opened(bytes);
  options.epochs = 0;
  options.start = &blocks;
  const auto started = Recover(kConfig, source_, *container, windows_, options);
  const auto plain = Run();
  ASSERT_TRUE(started.ok() && plain.ok());
  EXPECT_LT(started->loss_after, plain->loss_before);
  options.epochs = 3;
  options.learning_rate = 5e-3;
  const auto both = Recover(kConfig, source_, *container, windows_, options);
  ASSERT_TRUE(both.ok()) << both.status().ToString();
  EXPECT_LT(both->loss_after, started->loss_after);
}

TEST_F(RecoveryTest, BadArgumentsAndCancelAreReported) {
  const TokenWindows one = RandomWindows(1, 32);
  EXPECT_EQ(Recover(kConfig, source_, *container_, one, {}).status().code(), ErrorCode::kUsage);
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(Recover(kConfig, source_, *container_, windows_, {}, {}, &cancel).status().code(),
            ErrorCode::kCancelled);
}

TEST(Recovery, SentenceEncodersToo) {
  const auto reference = ReferenceModel::Named("bert");
  const auto bytes = Packed(*reference.weights, 3, "(query|key|value|dense).weight");
  const auto container = Opened(bytes);
  TokenWindows sentences{0, 16, {}, {0}};
  std::mt19937 rng(4);
  for (; sentences.windows < 200; ++sentences.windows) {
    for (size_t i = 0; i < 3 + rng() % 12; ++i) {
      sentences.ids.push_back(static_cast<int32_t>(rng() % 96));
    }
    sentences.begins.push_back(sentences.ids.size());
  }
  RecoveryOptions options;
  options.threads = 1;
  const auto found = Recover(reference.config, *reference.weights, *container, sentences, options);
  ASSERT_TRUE(found.ok()) << found.status().ToString();
  EXPECT_LT(found->loss_after, found->loss_before);
}

}  // namespace
}  // namespace nwc
