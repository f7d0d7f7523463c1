#!/usr/bin/env python3
"""Times plain reading of a safetensors file: every tensor into memory of its own.

    tools/read_safetensors.py FILE [--runs N]

Prints one JSON object: the median and every single time in seconds, with the file in the page cache
(one reading comes first that does not count).
"""
import argparse
import json
import pathlib
import statistics
import struct
import sys
import time

import numpy as np


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Tensor bytes by name."""
    tensors = {}
    with path.open("rb") as file:
        (header_size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            data = np.empty(end - begin, np.uint8)
            file.seek(8 + header_size + begin)
            if file.readinto(data) != data.size:
                sys.exit(f"{path}: ends inside {name}")
            tensors[name] = data
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    read_tensors(arguments.file)
    seconds = []
    for _ in range(arguments.runs):
        begun = time.perf_counter()
        tensors = read_tensors(arguments.file)
        seconds.append(time.perf_counter() - begun)
        del tensors
    json.dump({"file_bytes": arguments.file.stat().st_size,
               "hot_seconds": statistics.median(seconds),
               "runs_seconds": seconds}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
