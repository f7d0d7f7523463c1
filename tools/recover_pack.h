// nwc-pack --recover: packs, tunes what is not coded, and writes the result.
#pragma once

#include "tools/kl_pack.h"
#include "tools/pack_report.h"

namespace nwc {

struct RecoveredPack {
  PackReport report;
  RecoveryFigures figures;
};

// Packs with `pack` to files beside arguments.output, once as it is and once tuned block by block;
// recovers the latter on the text of --recover-text or --calibration, or the former when that is
// not better; and writes arguments.output. Parts and the state of recovery are kept in
// options.store, if there is one; blocks are tuned again, which gives the same parts.
Result<RecoveredPack> PackAndRecover(const PackArguments& arguments, const PackOptions& options,
                                     const Checkpoint& checkpoint, const PackFunction& pack);

}  // namespace nwc
