#!/usr/bin/env python3
"""Tests of nwc bench load.

    tests/cli/bench_load_test.py BIN_DIR

BIN_DIR holds nwc and nwc-pack. Needs numpy. Nothing is timed.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from cli_support import CliCase, layers_of


class BenchLoad(CliCase):
    def setUp(self):
        super().setUp()
        self.tensors = layers_of(self.rng, 4, side=384)
        self.packed = self.pack(self.checkpoint(self.tensors), self.path("m.nwc"), "--profile", "exact")

    def bytes_of(self, part):
        return sum(len(data) for name, (_, _, data) in self.tensors.items() if part in name)

    def load(self, *arguments):
        return self.nwc_json("bench", "load", self.packed, "--rounds", "2", *arguments)

    def test_everything_comes_into_memory(self):
        report = self.load()
        self.assertEqual(report["state"], "hot")
        self.assertEqual(report["tensors"], len(self.tensors))
        self.assertEqual(report["decoded_bytes"], self.bytes_of(""))
        self.assertGreater(report["peak_memory_bytes"], self.bytes_of(""))
        self.assertLessEqual(report["bytes_read"], report["file_bytes"] + 8192)
        self.assertEqual(len(report["rounds"]), 2)
        self.assertEqual(report["fastest_seconds"], min(report["rounds"]))
        self.assertAlmostEqual(report["seconds"], sum(report["rounds"]) / 2)

    def test_a_layer_reads_its_own_bytes(self):
        inspected = self.inspect(self.packed)
        report = self.load("--layers", "2", "--io", "pread")
        self.assertEqual(report["decoded_bytes"], self.bytes_of("layers.2."))
        payload = sum(t["payload_bytes"] for t in inspected["tensors"] if "layers.2." in t["name"])
        self.assertLess(report["bytes_read"] - report["index_bytes"], payload + 3 * 4096)
        self.assertGreaterEqual(report["bytes_read"] - report["index_bytes"], payload)

    def test_every_way_of_reading_is_named(self):
        for mode, word in (("pread", "pread"), ("mmap", "map")):
            self.assertIn(word, self.load("--io", mode)["io"])

    def test_cold_pages_are_proven_gone(self):
        done = self.run_maybe_cold(self.packed)
        if done.returncode == 0:
            report = json.loads(done.stdout)
            self.assertEqual(report["state"], "cold")
            self.assertLessEqual(report["resident_share_before"], 0.01)
        else:  # the temporary folder is in memory
            self.assertIn("stayed in the page cache", done.stderr)

    @unittest.skipUnless(os.access("/dev/shm", os.W_OK), "no file system in memory")
    def test_a_file_that_stays_in_memory_cannot_be_cold(self):
        folder = tempfile.mkdtemp(dir="/dev/shm", prefix="nwc-cli-")
        self.addCleanup(shutil.rmtree, folder)
        copy = shutil.copy(self.packed, folder)
        done = self.run_maybe_cold(copy)
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr, r"m\.nwc: 100\.0 % of its pages stayed in the page cache")

    def run_maybe_cold(self, file):
        command = self.command("nwc", "bench", "load", file, "--cold", "--rounds", "2", "--json", "-q")
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def test_a_set_is_loaded_as_a_whole(self):
        source = self.sharded_checkpoint(self.tensors)
        self.packed = self.path("set") / "m.nwc"
        self.packed.parent.mkdir()
        self.pack(source, self.packed, "--profile", "exact", "--shard-size", "1MB")
        self.packed = self.packed.parent
        self.assertEqual(self.load()["decoded_bytes"], self.bytes_of(""))
        self.assertEqual(self.load("--tensor", r"^model\.norm")["tensors"], 1)

    def test_checks_can_be_left_out(self):
        chunk = next(t for t in self.inspect(self.packed)["tensors"] if t["payload_bytes"] > 65536)
        raw = self.packed.read_bytes()
        self.flip(self.packed, 4096 + chunk["payload_bytes"] // 2)
        self.nwc("bench", "load", self.packed, expect=1)
        self.nwc("bench", "load", self.packed, "--no-verify", "--verify-decoded", expect=1)
        self.packed.write_bytes(raw)
        self.load("--no-verify")
        self.load("--verify-decoded")

    def test_wrong_usage(self):
        for arguments in ((), (self.packed, "--rounds", "0"), (self.packed, "--layers", "9"),
                          (self.packed, "--layers", "x"), (self.packed, "--tensor", "("),
                          ("http://127.0.0.1:1/m.nwc", "--cold")):
            self.nwc("bench", "load", *arguments, expect=2)
        self.nwc("bench", expect=2)
        self.nwc("bench", "load", self.path("none.nwc"), expect=3)
        self.assertIn("--cold", self.nwc("bench", "load", "--help").stdout)

    def test_text_says_what_json_says(self):
        text = self.nwc("bench", "load", self.packed, "--rounds", "3", "-q").stdout
        self.assertRegex(text, r"load, hot +\d")
        self.assertIn(f"{len(self.tensors)} tensors, median of 3 loads", text)


if __name__ == "__main__":
    BenchLoad.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
