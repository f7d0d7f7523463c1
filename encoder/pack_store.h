// Finished parts of a pack as bytes, so that a pack that was killed goes on where it was.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "encoder/coded_tensor.h"
#include "encoder/rate_control.h"
#include "format/status.h"

namespace nwc {

std::vector<uint8_t> SerializeCodedTensor(const CodedTensor& tensor);
std::vector<uint8_t> SerializeStreamChoice(const StreamChoice& choice);

// kCorrupt when `bytes` is not what the above gave; then the part is made again. `planned` is the
// tensor as DescribeTensor gives it for its planned profile.
Result<CodedTensor> ParseCodedTensor(ByteSpan bytes, const TensorInfo& planned);
Result<StreamChoice> ParseStreamChoice(ByteSpan bytes);

}  // namespace nwc
