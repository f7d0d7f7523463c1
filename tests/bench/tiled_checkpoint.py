#!/usr/bin/env python3
"""Makes a large checkpoint out of a small one: real weights, the layers repeated.

    tests/bench/tiled_checkpoint.py CHECKPOINT OUTPUT [--bytes 1.5e9]

Layers are repeated, as a whole and in order, until the tensors have that many bytes; every float is
rounded to bfloat16. Neither any codec compared here nor zstd's window reaches from one copy to the
next, so a repeated model is as hard to shrink as a long one. Needs numpy.
"""
import argparse
import json
import pathlib
import re
import shutil
import struct

import numpy as np

LAYER = re.compile(r"(.*\blayers?\.)(\d+)(\..*)")


def read_header(path):
    """(entries by name, offset of the data)."""
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
    header.pop("__metadata__", None)
    return header, 8 + size


def to_bfloat16(dtype, data):
    if dtype == "BF16":
        return data
    bits = np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[dtype]).astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def read_tensors(path):
    """{name: (shape, bfloat16 bytes)} in the order of the file."""
    header, begin = read_header(path)
    data = np.memmap(path, np.uint8, "r", begin)
    ordered = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {name: (e["shape"], to_bfloat16(e["dtype"], data[slice(*e["data_offsets"])].tobytes()))
            for name, e in ordered}


def tiled(tensors, least_bytes):
    """(the names of the tiled checkpoint, each with the tensor it copies; its number of layers)."""
    places = {name: LAYER.fullmatch(name) for name in tensors}
    layers = 1 + max(int(place[2]) for place in places.values() if place)
    sizes = {name: len(data) for name, (_, data) in tensors.items()}
    layer_bytes = sum(size for name, size in sizes.items() if places[name])
    other_bytes = sum(sizes.values()) - layer_bytes
    copies = max(1, int(-(-(least_bytes - other_bytes) // layer_bytes)))
    names = {name: name for name in tensors if not places[name]}
    for copy in range(copies):
        for name, place in places.items():
            if place:
                names[f"{place[1]}{int(place[2]) + copy * layers}{place[3]}"] = name
    return names, copies * layers


def write_checkpoint(tensors, names, path):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, source in names.items():
        shape, data = tensors[source]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for source in names.values():
            f.write(tensors[source][1])
    return offset


def make(checkpoint, output, least_bytes):
    """Writes the folder, whole or not at all; returns the number of layers."""
    tensors = read_tensors(checkpoint / "model.safetensors")
    names, layers = tiled(tensors, least_bytes)
    part = output.with_name(output.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_checkpoint(tensors, names, part / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"num_hidden_layers": layers, "torch_dtype": "bfloat16"}
    (part / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    part.rename(output)
    return layers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--bytes", type=float, default=1.5e9, help="at least, of tensors")
    arguments = parser.parse_args()
    layers = make(arguments.checkpoint, arguments.output, arguments.bytes)
    print(f"{arguments.output}: {layers} layers, {(arguments.output / 'model.safetensors').stat().st_size} bytes")


if __name__ == "__main__":
    main()
