// nwc-pack --kl: packs at the rate that just keeps a KL budget.
#pragma once

#include <functional>
#include <string>

#include "tools/checkpoint.h"
#include "tools/pack_arguments.h"

namespace nwc {

struct KlPack {
  PackReport report;
  double kl = 0;  // measured, nats a token
};

// Packs once with the options given, to the path given; true: an older file there may be replaced.
using PackFunction = std::function<Result<PackReport>(const PackArguments&, const PackOptions&,
                                                      const Checkpoint&, const std::string&, bool)>;

// Tries rates on a file beside arguments.output, then gives the best its name. Each trial has parts
// of its own in options.store.
Result<KlPack> PackForKl(const PackArguments& arguments, const PackOptions& options,
                         const Checkpoint& checkpoint, const PackFunction& pack);

}  // namespace nwc
