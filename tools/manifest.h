// Manifests: SHA-256 of a container, or of each one of a set, and of each decoded tensor, as JSON,
// for whoever wants to pin or publish what a container must hold.
//
//   {"format": "nwc-manifest", "version": 1,
//    "files": [{"name": "model.nwc", "bytes": 123, "sha256": "…"}],
//    "tensors": [{"name": "a.weight", "dtype": "BF16", "shape": [2, 3], "sha256": "…"}]}
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "loader/model_loader.h"

namespace nwc {

struct ManifestTensor {
  std::string name;
  std::string dtype;  // as safetensors writes it
  std::vector<uint64_t> shape;
  std::string sha256;  // of the decoded bytes: row-major, little-endian
};

struct ManifestFile {
  std::string name;  // without its folder; not compared
  uint64_t bytes = 0;
  std::string sha256;
};

struct Manifest {
  std::vector<ManifestFile> files;      // containers: one, or the shards of a set in their order
  std::vector<ManifestTensor> tensors;  // in file order
};

// What a manifest says and what a container has, where they differ.
struct ManifestDifference {
  std::string tensor;  // empty: a file, or how many there are
  std::string file;    // as the manifest calls it
  std::string what;    // "files", "bytes", "sha256", "dtype", "shape"; "presence" of a tensor
  std::string expected, got;
};

// Of bytes read or decoded so far, of all of them.
using ManifestProgress =
    std::function<void(const std::string& item, uint64_t done, uint64_t total)>;

// Reads each file twice, hashed as it is and decoded; memory is that of the loader. kCancelled once
// StopRequested(). Errors are those of the loader: every chunk's hash is checked on the way.
Result<Manifest> MakeManifest(const ModelLoader& model, const ManifestProgress& progress);

std::string FormatManifest(const Manifest& manifest);

// kCorrupt, with the path, for what is no manifest or names a tensor twice; a missing file is kIo.
Result<Manifest> ReadManifest(const std::string& path);

// Differences of the files first, then in the order of the manifest, then tensors it does not have.
std::vector<ManifestDifference> CompareManifests(const Manifest& expected, const Manifest& got);

// One line, for people.
std::string Describe(const ManifestDifference& difference);

struct ManifestArguments {
  std::string file;
  std::string output;
  bool force = false;
  bool quiet = false;
  LoadOptions load;
};

// nwc manifest.
Status WriteManifest(const ManifestArguments& arguments);

}  // namespace nwc
