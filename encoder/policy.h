// Which profile a tensor gets and how it is cut into tiles.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "encoder/encoder.h"

namespace nwc {

struct TensorPlan {
  size_t source = 0;  // position in TensorSource::tensors()
  Profile profile = Profile::kRaw;
  bool linear = false;
  double bits = 0;  // target of its rate group; stream only
  std::string note;
  uint64_t rows = 0, columns = 0;
  uint64_t weights = 0;
  uint32_t row_unit = 1;  // rows of a tile are a multiple of it: the chunk of the nwc codec
};

// Plans of the selected tensors in file order: embeddings and other tensors without a layer number
// whose names say they come first, layers by number, then the rest. Looks at names, dtypes and
// shapes only. kUsage for a bad regex, naming it.
Result<std::vector<TensorPlan>> PlanTensors(const TensorSource& source, const PackOptions& options);

// Fills in dtype, shape, matrix view and tiles.
TensorInfo DescribeTensor(const SourceTensor& tensor, const TensorPlan& plan);

// Sets the tiles that suit `profile`; their rows are a multiple of `row_unit` where there are more
// than one.
void ChooseTiles(Profile profile, TensorInfo* tensor, uint32_t row_unit = 1);

}  // namespace nwc
