#!/usr/bin/env python3
"""How far other arithmetic strays from that of codec.md 11, on random nets: the table there.

    neural_tolerance.py [--vectors N]    prints the largest |g' - g| / max(1, |g|) of each kind
"""
import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "spec" / "reference")]

import numpy as np  # noqa: E402

from golden_neural import codec_of  # noqa: E402
from golden_numbers import Numbers  # noqa: E402
from neural import synthesise  # noqa: E402

LIMITS = {"float64": 2.0 ** -12, "float32": 2.0 ** -12, "tf32": 2.0 ** -6, "bf16": 2.0 ** -3}
SHAPES = ((4, 4, 16, 2), (16, 16, 64, 4), (16, 16, 512, 4), (8, 8, 256, 8))


def rounded(x, bits):
    """float32 values with `bits` bits of mantissa, ties to even."""
    drop = 23 - bits
    raw = np.asarray(x, np.float32).view(np.uint32)
    raw = raw + np.uint32((1 << drop - 1) - 1) + (raw >> np.uint32(drop) & np.uint32(1))
    return (raw >> np.uint32(drop) << np.uint32(drop)).view(np.float32)


def plain_norm(h, gain, shift):
    d = h - h.mean(axis=0)
    inverse = 1 / np.sqrt((d * d).mean(axis=0) + h.dtype.type(1e-5))
    return d * inverse * gain[:, None] + shift[:, None]


def dot64(weight, bias, x):
    return weight.astype(np.float64) @ x.astype(np.float64) + bias[:, None]


def dot32(weight, bias, x):
    return weight @ x + bias[:, None]


def dot_rounded(bits):
    def product(weight, bias, x):
        return rounded(weight, bits) @ rounded(x, bits) + bias[:, None]
    return product


PRODUCTS = {"float64": dot64, "float32": dot32, "tf32": dot_rounded(10), "bf16": dot_rounded(7)}


def errors(codec, y, quality):
    """The largest error of each kind of arithmetic."""
    expected = synthesise(codec, y, quality).astype(np.float64)
    allowed = np.maximum(1, np.abs(expected))
    return {name: float((np.abs(synthesise(codec, y, quality, product, plain_norm) - expected) /
                         allowed).max())
            for name, product in PRODUCTS.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=256)
    vectors = parser.parse_args().vectors
    for seed, (chunk, latents, width, blocks) in enumerate(SHAPES):
        codec = codec_of(200 + seed, "random", (9,), chunk=chunk, latents=latents, width=width,
                         blocks=blocks, qualities=4)
        numbers = Numbers(300 + seed)
        y = np.array([numbers.list(vectors, -8, 8) for _ in range(latents)])
        found = errors(codec, y, np.arange(vectors) % 4)
        text = "  ".join(f"{name} 2^{np.log2(value):.1f}" for name, value in found.items())
        print(f"chunk {chunk:2}, latents {latents:2}, width {width:3}, {blocks} blocks: {text}")


if __name__ == "__main__":
    main()
