#!/usr/bin/env python3
"""The reference decoder on the golden files and, against the C++ tools, on a real layer.

    reference_test.py [--binaries DIR]    DIR holds nwc and nwc-pack; without it they are not run
"""
import argparse
import ctypes
import json
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAYER = ROOT / "tests" / "data" / "minilm_layer"
REFERENCE = ROOT / "spec" / "reference"
sys.dont_write_bytecode = True
sys.path[:0] = [str(REFERENCE), str(HERE)]

import numpy as np  # noqa: E402

import neural_tolerance  # noqa: E402
import xxh3  # noqa: E402
from codec import FormatError, Rans, alias_table  # noqa: E402
from decode import Container, Unsupported  # noqa: E402
from golden_neural import THIN  # noqa: E402
from golden_numbers import Numbers  # noqa: E402
from neural import fma  # noqa: E402

BINARIES = None


def containers(folder):
    return sorted((HERE / folder).glob("*.nwc"))


def read_everything(data):
    """Decoded tensors, None for those of an unknown profile."""
    container = Container(data, check_hashes=True)
    decoded = []
    for number in range(len(container.tensors)):
        try:
            decoded.append(container.decode(number))
        except Unsupported:
            decoded.append(None)
    for number in range(len(container.index.files)):
        container.file(number)
    container.check_padding()
    return container, decoded


class Hashes(unittest.TestCase):
    def test_as_the_system_library(self):
        class Hash128(ctypes.Structure):
            _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]
        try:
            library = ctypes.CDLL("libxxhash.so.0")
        except OSError as error:
            self.skipTest(error)
        library.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        library.XXH3_64bits.restype = ctypes.c_uint64
        library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        library.XXH3_128bits.restype = Hash128
        numbers = Numbers(30)
        data = bytes(numbers.bits(8) for _ in range(5000))
        around_blocks = [at + i for at in (1024, 2048, 4096) for i in (-1, 0, 1, 64, 65)]
        for length in (*range(600), *around_blocks, 5000):
            part = data[5000 - length:]
            wide = library.XXH3_128bits(part, length)
            self.assertEqual(xxh3.h64(part), library.XXH3_64bits(part, length), length)
            self.assertEqual(xxh3.h128(part), (wide.low, wide.high), length)


class GoldenFiles(unittest.TestCase):
    def test_valid_ones_decode_to_the_listing(self):
        self.assertTrue(containers("valid"))
        for path in containers("valid"):
            with self.subTest(path.name):
                listed = json.loads(path.with_suffix(".json").read_text())["tensors"]
                container, decoded = read_everything(path.read_bytes())
                self.assertEqual([t.name.decode() for t in container.tensors],
                                 [entry["name"] for entry in listed])
                for entry, data in zip(listed, decoded):
                    self.assertEqual(data is None, entry["profile"] is None)
                    if data is not None:
                        low, high = xxh3.h128(data)
                        self.assertEqual(f"{high:016x}{low:016x}", entry["decoded_xxh3_128"])

    def test_invalid_ones_break_their_rule(self):
        rules = set()
        for path in containers("invalid"):
            with self.subTest(path.name), self.assertRaises(FormatError) as caught:
                read_everything(path.read_bytes())
            rules.add(int(path.name[1:3]))
            self.assertEqual(caught.exception.rule, int(path.name[1:3]), path.name)
        self.assertEqual(rules, set(range(1, 39)))

    def test_are_made_again_byte_for_byte(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, HERE / "make_golden.py", "-o", folder], check=True)
            made = sorted(p.relative_to(folder) for p in Path(folder).rglob("*") if p.is_file())
            kept = sorted(p.relative_to(HERE) for name in ("valid", "invalid")
                          for p in (HERE / name).iterdir())
            self.assertEqual(made, kept)
            for path in made:
                self.assertEqual((folder / path).read_bytes(), (HERE / path).read_bytes(), path)


class OtherArithmetic(unittest.TestCase):
    def test_stays_within_the_tolerance(self):
        numbers = Numbers(31)
        y = np.array([numbers.list(200, -8, 8) for _ in range(THIN.settings.latents)])
        for kind, error in neural_tolerance.errors(THIN, y, np.arange(200) % 4).items():
            with self.subTest(kind):
                self.assertLessEqual(error, neural_tolerance.LIMITS[kind])

    def test_fused_multiply_add_rounds_once(self):
        numbers = Numbers(32)
        for _ in range(300):
            a, b, c = (np.array([numbers.between(1 << 23, (1 << 24) - 1)], np.float32) *
                       np.float32(2.0 ** numbers.between(-8, 8)) for _ in range(3))
            c = -c * np.float32(2.0 ** 24)
            exact = Fraction(float(a[0])) * Fraction(float(b[0])) + Fraction(float(c[0]))
            found = fma(a, b, c)[0]
            distance = abs(Fraction(float(found)) - exact)
            for neighbour in (np.nextafter(found, np.float32(np.inf)),
                              np.nextafter(found, np.float32(-np.inf))):
                self.assertLessEqual(distance, abs(Fraction(float(neighbour)) - exact))


class WorkedExamples(unittest.TestCase):
    """The examples of the specification are true."""

    def test_dump_of_the_smallest_container(self):
        data = bytearray((HERE / "valid" / "smallest.nwc").read_bytes())
        rows = re.findall(r"^\| ([0-9A-F]{4}) \| ((?:[0-9A-F]{2} ?)+) \|",
                          (ROOT / "spec" / "format.md").read_text(), re.MULTILINE)
        self.assertGreater(len(rows), 30)
        for offset, text in rows:
            at, part = int(offset, 16), bytes.fromhex(text)
            self.assertEqual(data[at:at + len(part)], part, offset)
            data[at:at + len(part)] = bytes(len(part))
        self.assertFalse(any(data), "bytes that the example does not show")

    def test_alias_table(self):
        table = alias_table((2000, 1500, 596, 0), 2)
        self.assertEqual(table[1:].tolist(),
                         [[548, 1024, 596, 0], [1, 1, 0, 0], [0, 476, 0, 428]])
        lane = np.array([0])
        rans = Rans(np.array([0x12345] + [1 << 16] * 31), np.array([0xBEEF]))
        for symbol, state in ((1, 0x6649BEEF), (0, 837943383)):
            self.assertEqual(rans.line(lane, table[:, None, :], 0, 2), symbol)
            self.assertEqual(rans.states[0], state)


class CommandLine(unittest.TestCase):
    def run_decode(self, *arguments):
        return subprocess.run([sys.executable, "-B", REFERENCE / "decode.py", *arguments],
                              capture_output=True, text=True)

    def test_lists_and_writes(self):
        path = HERE / "valid" / "unknown_profile.nwc"
        listed = self.run_decode(path)
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertEqual(len(listed.stdout.splitlines()), 3)
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(self.run_decode(path, "-o", folder).returncode, 0)
            self.assertEqual(sorted(p.name for p in Path(folder).iterdir()),
                             ["0.bin", "2.bin", "tensors.json"])
            self.assertEqual((Path(folder) / "0.bin").read_bytes(), b"\1\2\3\4")

    def test_names_the_rule(self):
        failed = self.run_decode(HERE / "invalid" / "R03_major.nwc")
        self.assertEqual(failed.returncode, 1)
        self.assertIn("R3", failed.stderr)


def read_safetensors(folder):
    """{name: bytes} of all .safetensors files in a folder"""
    tensors = {}
    for path in Path(folder).glob("*.safetensors"):
        data = path.read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8:8 + size])
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                tensors[name] = data[8 + size + begin:8 + size + end]
    return tensors


def tool(name):
    """The path of a program, or a reason to skip the test."""
    path = BINARIES / name if BINARIES else None
    if path is None or not path.exists():
        raise unittest.SkipTest(f"no program {name}: name its folder with --binaries")
    return path


class Tools(unittest.TestCase):
    def run_tool(self, name, *arguments, status=0):
        done = subprocess.run([tool(name), *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, status, f"{name} {arguments}: {done.stderr}")
        return done

    def test_verify_checks_padding(self):
        for path in containers("valid"):
            self.run_tool("nwc", "verify", path)
        for path in (HERE / "invalid").glob("R31_*.nwc"):
            report = json.loads(self.run_tool("nwc", "verify", "--json", path, status=1).stdout)
            self.assertEqual([problem["rule"] for problem in report["problems"]], ["R31"])

    def packed_layer_decodes_alike(self, *options):
        if not LAYER.is_dir():
            self.skipTest("no tests/data/minilm_layer")
        tool("nwc")
        with tempfile.TemporaryDirectory() as folder:
            packed, unpacked = Path(folder) / "layer.nwc", Path(folder) / "unpacked"
            self.run_tool("nwc-pack", LAYER, "-o", packed, *options)
            self.run_tool("nwc", "unpack", packed, "-o", unpacked)
            container, decoded = read_everything(packed.read_bytes())
            self.assertEqual({t.name.decode(): data for t, data in zip(container.tensors, decoded)},
                             read_safetensors(unpacked))
            return {t.profile for t in container.tensors}

    def test_stream_at_3_bits(self):
        self.assertIn(2, self.packed_layer_decodes_alike("--bits", "3"))

    def test_stream_at_4_bits(self):
        self.assertIn(2, self.packed_layer_decodes_alike("--bits", "4"))

    def test_exact(self):
        self.assertIn(1, self.packed_layer_decodes_alike("--profile", "exact"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=Path, help="folder of nwc and nwc-pack")
    known, rest = parser.parse_known_args()
    BINARIES = known.binaries
    unittest.main(argv=[sys.argv[0], *rest])
