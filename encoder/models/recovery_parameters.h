// What recovery tunes, with Adam's moments: by tensor name, as multiples of what stands still.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "encoder/models/model.h"
#include "encoder/recovery.h"

namespace nwc {

// Kingma & Ba, arXiv 1412.6980, algorithm 1.
struct AdamStep {
  double rate;
  int64_t number;  // from 1
};

class RecoveryParameters {
 public:
  explicit RecoveryParameters(torch::Device device) : device_(device) {}

  // A vector (or a matrix yet to be coded) of a checkpoint, float32, whose elements are stored as
  // `dtype`. One of zeros only is left as it is: it has no scale.
  void AddVector(const std::string& name, DType dtype, const torch::Tensor& values);
  // Row gains of a matrix, none of them set.
  void AddGains(const std::string& name, int64_t rows);
  void Remove(const std::string& name) { tuned_.erase(name); }
  void Clear() { tuned_.clear(); }
  [[nodiscard]] bool Has(const std::string& name) const { return tuned_.contains(name); }
  // Of something added by AddVector, rounded as it will be stored.
  [[nodiscard]] torch::Tensor Value(const std::string& name) const {
    return Rounded(tuned_.at(name));
  }
  // Begins from these; names that are not tuned are passed over.
  void Set(const Recovered& changes);

  // Puts the present values into `parameters`, rounded as they will be stored; gradients pass the
  // rounding as if it were not there.
  void ApplyVectors(std::map<std::string, torch::Tensor>* parameters) const;
  // The same and the gains, which are not rounded.
  void Apply(Layer* layer) const;

  // Takes the gradients gathered since the last step.
  void Step(const AdamStep& step);

  // Rounded, without what stayed as it was.
  [[nodiscard]] Recovered Changes() const;

  // Values and moments, in one order; Restore is false for another number of them.
  [[nodiscard]] std::vector<float> State() const;
  [[nodiscard]] bool Restore(const std::vector<float>& state);

 private:
  struct Tuned {
    bool gains = false;
    DType dtype = DType::kF32;
    torch::Tensor base;   // of a vector; undefined for gains
    double unit = 1;      // rms of base
    torch::Tensor delta;  // what is trained, in units
    torch::Tensor first, second;
  };
  void Add(const std::string& name, Tuned tuned, torch::IntArrayRef shape);
  [[nodiscard]] static torch::Tensor Rounded(const Tuned& tuned);

  const torch::Device device_;
  std::map<std::string, Tuned> tuned_;
};

}  // namespace nwc
