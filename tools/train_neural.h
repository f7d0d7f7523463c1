// nwc-train --arch nwc: trains a neural codec with files around it.
#pragma once

#include "encoder/tensor_source.h"
#include "format/status.h"
#include "tools/train_arguments.h"

namespace nwc {

// Writes the codec to arguments.output, the log, and while it runs the state beside the output,
// which is removed at the end. Prints a report unless quiet.
Status TrainNeuralCodec(const std::vector<const TensorSource*>& sources,
                        const TrainArguments& arguments);

}  // namespace nwc
