// nwc fetch without a selection: copies a container, or a set of them, as it is. A copy that was
// interrupted goes on from what is there once its hashes were checked again.
#pragma once

#include "tools/fetch.h"

namespace nwc {

// A container becomes the file `output`, which grows as "<output>.part" beside it; a set becomes
// the folder `output`, new or empty, which grows as "<output>.part". Either appears when every hash
// was checked on what is on the disk, and not before. After any failure the part stays, and the
// same command goes on with it; a part of another version of the file is thrown away, with a note.
Status Download(const FetchArguments& arguments);

}  // namespace nwc
