// A packed model, or another checkpoint, as the encoder sees a checkpoint.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "encoder/tensor_source.h"
#include "tools/container_bits.h"

namespace nwc {

struct PackedModel {
  std::unique_ptr<TensorSource> source;
  std::optional<ContainerBits> bits;  // of a container
};

// `path` is a container or a set of them (OpenModel), a folder or a .safetensors file; a missing
// one is kIo. Tensors of a container are decoded when they are read, with `threads` threads (0: one
// a core) and every chunk's hash checked.
Result<PackedModel> OpenPacked(const std::string& path, int threads);

// kUsage, naming the tensor, when one side lacks a tensor of the other or has it in another shape.
Status CheckSameTensors(const TensorSource& original, const TensorSource& packed);

}  // namespace nwc
