#!/usr/bin/env python3
"""Writes the golden files: valid/NAME.nwc with NAME.json beside it, and invalid/Rnn_WHAT.nwc.

Deterministic: a second run gives identical bytes. Golden files of released versions never change.
"""
import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "spec" / "reference")]

import xxh3  # noqa: E402
from golden_invalid import INVALID  # noqa: E402
from golden_invalid_neural import INVALID_NEURAL  # noqa: E402
from golden_valid import VALID  # noqa: E402
from encode import DTYPES  # noqa: E402

DTYPE_NAMES = [name for name in DTYPES]
PROFILES = ("raw", "exact", "stream", "nwc")


def hex128(data):
    low, high = xxh3.h128(data)
    return f"{high:016x}{low:016x}"


def listing(tensors):
    """What a reader must find; unsupported tensors have neither profile nor hash."""
    entries = []
    for tensor in tensors:
        known = tensor.fields["profile"] < len(PROFILES)
        entries.append({
            "name": tensor.fields["name"].decode(), "dtype": DTYPE_NAMES[tensor.fields["dtype"]],
            "shape": tensor.fields["shape"],
            "profile": PROFILES[tensor.fields["profile"]] if known else None,
            "decoded_xxh3_128": hex128(tensor.decoded) if known else None})
    rows = ",\n".join("  " + json.dumps(entry) for entry in entries)
    return '{"tensors": [\n' + rows + "\n]}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=HERE, help="folder, by default this")
    output = parser.parse_args().output
    for folder in ("valid", "invalid"):
        (output / folder).mkdir(parents=True, exist_ok=True)
        for old in (output / folder).iterdir():
            old.unlink()
    for name, make in VALID.items():
        data, tensors = make()
        (output / "valid" / f"{name}.nwc").write_bytes(data)
        (output / "valid" / f"{name}.json").write_text(listing(tensors))
    for name, make in {**INVALID, **INVALID_NEURAL}.items():
        (output / "invalid" / f"{name}.nwc").write_bytes(make())


if __name__ == "__main__":
    main()
