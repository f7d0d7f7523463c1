// Everything a user of the format library needs.
#pragma once

#include "format/chunk_decoder.h"  // IWYU pragma: export
#include "format/default_codec.h"  // IWYU pragma: export
#include "format/index.h"          // IWYU pragma: export
#include "format/layout.h"         // IWYU pragma: export
#include "format/neural_codec.h"   // IWYU pragma: export
#include "format/writer.h"         // IWYU pragma: export
