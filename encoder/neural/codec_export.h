// From a finished training run to the codec: binary16 parameters, counted tables, a report.
#pragma once

#include "encoder/neural/codec_trainer.h"

namespace nwc {

// Rounds the trainer's nets to binary16 in place; tables come from the rounded latents of training
// chunks, the report from validation chunks. kUsage when a parameter is beyond binary16.
Result<NeuralTrainingResult> ExportCodec(const NeuralTrainingOptions& options,
                                         CodecTrainer* trainer);

}  // namespace nwc
