#!/usr/bin/env python3
"""Tests of nwc bench --device on the command line.

    tests/cuda/bench_cli_test.py NWC FILE.nwc

Where there is a GPU the report is looked at, elsewhere the error.
"""
import json
import subprocess
import sys
import unittest

NWC, FILE = sys.argv[1:3]


def bench(*arguments):
    return subprocess.run([NWC, "bench", FILE, "--runs", "1", *arguments],
                          capture_output=True, text=True)


class BenchDevice(unittest.TestCase):
    def test_without_a_gpu_it_says_so(self):
        done = bench("--device", "cuda", "--json")
        if done.returncode == 0:
            self.assertGreater(json.loads(done.stdout)["copy_ceiling_gb_per_second"], 0)
            return
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("no CUDA device", done.stderr)
        self.assertNotIn("a newer nwc", done.stderr)  # which would not help
        self.assertEqual(done.stdout, "")

    def test_a_number_beyond_all_gpus_is_no_device(self):
        done = bench("--device", "cuda:4000")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("no CUDA device", done.stderr)

    def test_other_devices_are_wrong_usage(self):
        for device in ("gpu", "cuda:", "cuda:x"):
            done = bench("--device", device)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("expected cuda or cuda:N", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
