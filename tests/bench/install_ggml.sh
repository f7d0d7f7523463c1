#!/bin/bash
# Builds ggml's quantisers, pinned, for tests/bench/gguf_peers.py. Nothing of NWC needs them.
#
#   tests/bench/install_ggml.sh FOLDER     FOLDER/libggml-base.so and FOLDER/venv with PyPI's gguf
set -euo pipefail

COMMIT=d99724f2b141fed9e1a9f402213506c081433465
URL=https://github.com/ggml-org/ggml
PYTHON=${NWC_PYTHON:-/usr/bin/python3}

(($# == 1)) || { echo "usage: ${0##*/} FOLDER" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
git init --quiet source
git -C source fetch --quiet --depth 1 "$URL" "$COMMIT"
git -C source checkout --quiet --force FETCH_HEAD
cmake -S source -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
  -DGGML_BUILD_TESTS=OFF -DGGML_BUILD_EXAMPLES=OFF >configure.log
ninja -C build ggml-base
cp -L build/src/libggml-base.so .
"$PYTHON" -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6 gguf==0.19.0
