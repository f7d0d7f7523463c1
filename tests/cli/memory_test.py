#!/usr/bin/env python3
"""How much memory nwc-pack takes.

    tests/cli/memory_test.py BIN_DIR

BIN_DIR holds nwc and nwc-pack. Needs numpy.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import unittest

from cli_support import CliCase


class Memory(CliCase):
    def peak_kilobytes(self, *arguments):
        process = subprocess.Popen(self.command("nwc-pack", *arguments),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        return usage.ru_maxrss

    def test_memory_does_not_follow_the_size_of_the_checkpoint(self):
        side, count = 1024, 32  # 4 MB each
        values = self.rng.normal(0, 0.02, (side, side)).astype("<f4").tobytes()
        source = self.checkpoint({f"layers.{i}.w": ("F32", (side, side), values)
                                  for i in range(count)})
        idle = self.peak_kilobytes("--version")
        packing = self.peak_kilobytes(source, "-o", self.path("m.nwc"), "-q", "--profile", "exact",
                                      "--threads", 2)
        self.assertLess(packing - idle, 48 * 1024)  # of 128 MB
        self.nwc("verify", self.path("m.nwc"), "-q")

    def test_a_checkpoint_packs_in_less_address_space_than_it_has_bytes(self):
        side, count, limit = 2048, 66, 1 << 30
        size = 4 * side * side
        # A few matrices, which are searched long; vectors, which are not.
        header = {f"layers.{i}.w": {"dtype": "F32", "shape": [side, side] if i < 4 else [side * side],
                                    "data_offsets": [i * size, (i + 1) * size]} for i in range(count)}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        source = self.path("large.safetensors")
        with open(source, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.write(self.rng.normal(0, 0.02, side * side).astype("<f4").tobytes())  # the others are zeros
            file.truncate(8 + len(text) + count * size)
        self.assertGreater(source.stat().st_size, limit)
        subprocess.run(["bash", "-c", 'ulimit -v "$0" && exec "$@"', str(limit // 1024),
                        *self.command("nwc-pack", source, "-o", self.path("m.nwc"), "-q", "--threads", 2)],
                       check=True)
        self.nwc("verify", self.path("m.nwc"), "-q")


if __name__ == "__main__":
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
