#!/usr/bin/env python3
"""Makes matrices as large as those of an 8B model out of a small model's: real weights, repeated.

    tests/bench/large_matrices.py CHECKPOINT OUTPUT.safetensors [--layers 2 9 16 27] [--count 40]
                                  [--rows 4608] [--columns 4096]

The layers' gate projections, as bfloat16, are cut to whole tiles of 512 x 128 and laid side by side
and below each other; each matrix of the output is one of them. For nwc bench --device cuda: a small
model's own matrices are over before a GPU is full. Needs numpy.
"""
import argparse
import pathlib

import numpy as np
import tiled_checkpoint

TILE = (512, 128)
NAME = "model.layers.{}.mlp.gate_proj.weight"


def enlarge(shape, data, rows, columns):
    matrix = np.frombuffer(data, "<u2").reshape(shape)
    whole = matrix[:shape[0] // TILE[0] * TILE[0], :shape[1] // TILE[1] * TILE[1]]
    copies = (-(-rows // whole.shape[0]), -(-columns // whole.shape[1]))
    return np.tile(whole, copies)[:rows, :columns].tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 9, 16, 27])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--rows", type=int, default=4608)
    parser.add_argument("--columns", type=int, default=4096)
    arguments = parser.parse_args()
    tensors = tiled_checkpoint.read_tensors(arguments.checkpoint / "model.safetensors")
    sources = [NAME.format(layer) for layer in arguments.layers]
    large = {name: ((arguments.rows, arguments.columns),
                    enlarge(*tensors[name], arguments.rows, arguments.columns))
             for name in sources}
    names = {NAME.format(i): sources[i % len(sources)] for i in range(arguments.count)}
    size = tiled_checkpoint.write_checkpoint(large, names, arguments.output)
    print(f"{arguments.output}: {arguments.count} matrices, {size} bytes")


if __name__ == "__main__":
    main()
