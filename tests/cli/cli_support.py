"""What the tests of the programs share: safetensors files, checkpoints and a fixture of verbs."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

import numpy as np

KILLS = int(os.environ.get("NWC_KILLS", "25"))  # how often tests kill a program

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2,
         "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}
SHAPES = {"scalar": [], "empty": [0], "empty3d": [3, 0, 2], "one": [1], "odd": [7],
          "matrix": [33, 17], "conv": [8, 3, 3, 3]}


def write_safetensors(path, tensors, metadata=None):
    """`tensors` maps a name to (dtype, shape, bytes)."""
    header, offset = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    blobs = b"".join(data for _, _, data in tensors.values())
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + blobs)


def read_safetensors(path):
    """(tensors as write_safetensors takes them, metadata or None)."""
    raw = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
    metadata = header.pop("__metadata__", None)
    assert sum(e["data_offsets"][1] - e["data_offsets"][0] for e in header.values()) == len(data)
    return {n: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for n, e in header.items()}, metadata


def encode(dtype, values):
    """float32 values as bytes of F32, F16 or BF16 (to nearest even)."""
    values = np.asarray(values, np.float32)
    if dtype == "BF16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def decode(dtype, data):
    """Bytes of F32, F16 or BF16 as float64 values."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype(np.float64)


def gaussian(rng, dtype, shape, scale=0.05):
    """A weight whose rows and columns have levels of their own."""
    values = rng.standard_normal(shape) * scale
    values *= np.exp(0.3 * rng.standard_normal((shape[0],) + (1,) * (len(shape) - 1)))
    return dtype, list(shape), encode(dtype, values)


def every_dtype(rng):
    """Random bits of every dtype in every shape: NaN, infinities and subnormals among the floats."""
    tensors = {}
    for dtype, size in SIZES.items():
        for label, shape in SHAPES.items():
            count = int(np.prod(shape)) * size
            data = rng.integers(0, 2 if dtype == "BOOL" else 256, count, np.uint8).tobytes()
            tensors[f"{dtype}.{label}"] = (dtype, shape, data)
    for dtype, ones in (("F16", 0x7C00), ("BF16", 0x7F80)):
        bits = np.array([ones, ones | 0x8000, ones | 1, ones | 0x80FF, 0x8000, 1, 0], "<u2")
        tensors[f"{dtype}.special"] = (dtype, [7], bits.tobytes())
    return tensors


def layers_of(rng, count, side=96, dtype="BF16"):
    """A small transformer by its names."""
    tensors = {"model.embed_tokens.weight": gaussian(rng, dtype, (128, side))}
    for layer in range(count):
        for part in ("self_attn.q_proj", "mlp.down_proj"):
            tensors[f"model.layers.{layer}.{part}.weight"] = gaussian(rng, dtype, (side, side))
        tensors[f"model.layers.{layer}.norm.weight"] = gaussian(rng, dtype, (side,))
    tensors["model.norm.weight"] = gaussian(rng, dtype, (side,))
    return tensors


class CliCase(unittest.TestCase):
    """A temporary folder for each test, and the programs as verbs."""

    binaries: pathlib.Path
    data_file: pathlib.Path | None = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nwc-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.rng = np.random.default_rng(20240607)

    def path(self, name):
        return self.folder / name

    def command(self, program, *arguments):
        return [str(self.binaries / program), *map(str, arguments)]

    def run_program(self, program, *arguments, expect=0, **options):
        done = subprocess.run(self.command(program, *arguments), capture_output=True, text=True,
                              timeout=300, **options)
        self.assertEqual(done.returncode, expect,
                         f"{program} {arguments}\n{done.stdout}\n{done.stderr}")
        if expect:
            self.assertRegex(done.stderr, f"(?m)^{program}: ")
        return done

    def nwc(self, *arguments, **options):
        return self.run_program("nwc", *arguments, **options)

    def nwc_json(self, *arguments, expect=0):
        return json.loads(self.nwc(*arguments, "--json", "-q", expect=expect).stdout)

    def kill(self, moment, program, *arguments):
        """Runs a program and kills it after `moment` seconds; its status, 0 when it was done before."""
        process = subprocess.Popen(self.command(program, *arguments), stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
        status = process.wait(timeout=60)
        self.assertIn(status, (0, -signal.SIGKILL))
        return status

    def inspect(self, file):
        return json.loads(self.nwc("inspect", file, "--json").stdout)

    def pack(self, source, output, *arguments, **options):
        self.run_program("nwc-pack", source, "-o", output, "-q", *arguments, **options)
        return output

    def checkpoint(self, tensors, name="checkpoint", metadata=None):
        """A folder with one shard and two metadata files."""
        folder = self.path(name)
        folder.mkdir()
        write_safetensors(folder / "model.safetensors", tensors, metadata or {"format": "pt"})
        (folder / "config.json").write_text('{"model_type": "none"}\n')
        (folder / "tokenizer.model").write_bytes(bytes(range(256)) * 3 + b"end")
        return folder

    def sharded_checkpoint(self, tensors, shard_count=3, name="sharded"):
        """Tensors dealt in turn, so that no shard holds neighbours."""
        folder = self.path(name)
        folder.mkdir()
        weight_map = {}
        for shard in range(shard_count):
            file = f"model-{shard + 1:05}-of-{shard_count:05}.safetensors"
            part = dict(list(tensors.items())[shard::shard_count])
            write_safetensors(folder / file, part, {"format": "pt", "shard": str(shard)})
            weight_map |= dict.fromkeys(part, file)
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
        (folder / "LICENSE").write_bytes(b"no licence\r\n\x00\xff")
        (folder / "empty.txt").write_bytes(b"")
        return folder

    def flip(self, file, position, mask=0x40):
        raw = bytearray(pathlib.Path(file).read_bytes())
        raw[position] ^= mask
        pathlib.Path(file).write_bytes(raw)

    def assert_same_folder(self, a, b):
        """The same files: weights by tensor and metadata, everything else by byte."""
        self.assertEqual(sorted(p.name for p in a.iterdir()), sorted(p.name for p in b.iterdir()))
        for path in a.iterdir():
            if path.suffix == ".safetensors":
                self.assertEqual(read_safetensors(path), read_safetensors(b / path.name), path.name)
            else:
                self.assertEqual(path.read_bytes(), (b / path.name).read_bytes(), path.name)
