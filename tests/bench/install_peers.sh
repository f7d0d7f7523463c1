#!/bin/bash
# Installs the loaders that tests/bench/load.py compares with, pinned, into a virtual environment.
# Nothing of NWC needs them. They all hand out tensors of PyTorch, whose wheel for Linux brings
# CUDA's libraries along, GPU or not: 5 GB of disk, several minutes.
#
#   tests/bench/install_peers.sh VENV
#
# A peer that does not install is left out: VENV/peers.tsv says why, and so does the report.
set -euo pipefail

PEERS=(
  torch==2.11.0 safetensors==0.8.0 runai-model-streamer==0.17.0 tensorizer==2.12.1 zipnn==0.5.4
)
PYTHON=${NWC_PYTHON:-/usr/bin/python3}
MISSING_HEADERS="Python.h"

(($# == 1)) || { echo "usage: ${0##*/} VENV" >&2; exit 2; }
venv=$1
"$PYTHON" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet numpy==2.4.6 packaging==26.0 wheel==0.46.3 "setuptools<82"

report=$venv/peers.tsv
: >"$report"
for peer in "${PEERS[@]}"; do
  log=$venv/install-${peer%%==*}.log
  if "${pip[@]}" install "$peer" >"$log" 2>&1; then
    printf '%s\tinstalled\n' "$peer" >>"$report"
  else
    reason=$(grep -m1 -E "$MISSING_HEADERS|^ *error:|^ERROR:" "$log" || tail -n 1 "$log")
    printf '%s\tnot installed: %s\n' "$peer" "$(tr '\t' ' ' <<<"$reason")" >>"$report"
  fi
done
cat "$report"
