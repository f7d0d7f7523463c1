// Packs a checkpoint into a container: which tensor gets which profile, at which rate, and the
// coding itself. No file I/O: tensors come from a TensorSource, the container goes to a ByteSink.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "encoder/importance_options.h"
#include "encoder/neural_model.h"
#include "encoder/statistics.h"
#include "encoder/tensor_source.h"
#include "encoder/weight_tuner.h"
#include "format/format.h"
#include "format/trellis.h"

namespace nwc {

// A user's rule: tensors whose name contains a match of `regex` (ECMAScript) get `profile`, and
// with `bits` > 0 a rate of their own. The last rule that matches wins over the default rule.
struct PackRule {
  std::string regex;
  Profile profile = Profile::kExact;
  double bits = 0;
};

// Keeps finished parts of a pack between runs: `load` gives what `save` got for a key, or nothing.
// Parts of another pack (other options, other weights) must not be given.
struct PackStore {
  std::function<Result<std::optional<std::vector<uint8_t>>>(const std::string& key)> load;
  std::function<Status(const std::string& key, ByteSpan part)> save;
};

struct PackOptions {
  Profile profile = Profile::kStream;  // of linear tensors
  double bits = 4.5;  // file bits a weight over the stream tensors without bits of their own
  std::vector<PackRule> rules;
  std::string include;    // only tensors whose name contains a match; empty: all
  std::string exclude;    // without tensors whose name contains a match; empty: none
  int threads = 0;        // 0: one a core; never changes the bytes written
  bool roundtrip = true;  // decode and compare every chunk while packing
  TrellisId trellis = TrellisId::kEightStates;
  float lambda = kLambda;        // squared steps a bit in the trellis search; 0: least error
  ImportanceOptions importance;  // how statistics are used
  const StatisticsSource* statistics = nullptr;  // of calibration; null: from weights alone
  const NeuralModel* neural = nullptr;           // codec of profile nwc; null: that is refused
  WeightTuner* tuner = nullptr;                  // changes weights before they are coded, or null
  const PackStore* store = nullptr;              // to resume from; null: start afresh
  std::string producer;                          // written into the container
};

// What happened, or in a dry run would happen, to one tensor.
struct PackedTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  Profile profile = Profile::kRaw;
  bool linear = false;
  std::string note;  // why the profile is not the one asked for; else empty
  uint64_t weights = 0;
  uint64_t source_bytes = 0;
  uint64_t packed_bytes =
      0;                    // chunks, side information and index entry; a dry run's is an estimate
  double target_bits = 0;   // stream only
  double relative_mse = 0;  // squared error / squared norm; lossy profiles only
  double kl = 0;  // second-order estimate of its KL divergence, nats a token; 0 when unknown
};

// Where the time of a pack went; the rest is planning.
struct PackSeconds {
  double analysis = 0;      // of weights and statistics, for rate control
  double rate_control = 0;  // the search for the constant and the tables
  double reading = 0;
  double tuning = 0;  // PackOptions::tuner
  double coding = 0;  // with the check by decoding
  double writing = 0;
};

struct PackReport {
  std::vector<PackedTensor> tensors;  // in file order
  uint64_t file_bytes = 0;
  uint64_t source_bytes = 0;
  uint64_t linear_weights = 0;
  double linear_bits_per_weight = 0;
  PackSeconds seconds;
};

struct PackProgress {
  std::string stage;        // "rate control" or "packing"
  std::string tensor;       // being finished
  uint64_t bytes_done = 0;  // of source bytes, in this stage
  uint64_t bytes_total = 0;
};

// `cancel`, when not null, is polled; set it to stop with kCancelled.
using ProgressCallback = std::function<void(const PackProgress&)>;

// Packs everything into `sink` and commits it. On failure the sink is not committed.
Result<PackReport> Pack(const TensorSource& source, const std::vector<SourceFile>& files,
                        const PackOptions& options, ByteSink* sink,
                        const ProgressCallback& progress = {},
                        const std::atomic<bool>* cancel = nullptr);

// Profiles, targets and estimated sizes, without writing.
Result<PackReport> PlanOnly(const TensorSource& source, const PackOptions& options);

// The default rule: weight matrices of linear layers. 2-D with both sides ≥ 64 (n-d convolutions
// seen as outputs × the rest), a float dtype, and not an embedding or output head by name.
bool IsLinearWeight(const SourceTensor& tensor);

}  // namespace nwc
