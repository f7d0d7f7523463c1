#!/usr/bin/env python3
"""Tests of nwc diff: what it finds between two models.

    tests/cli/diff_test.py BIN_DIR

BIN_DIR holds nwc. Needs numpy.
"""
import pathlib
import sys
import unittest

import numpy as np

from cli_support import CliCase, gaussian, write_safetensors


class Comparing(CliCase):
    def diff(self, a, b, expect):
        for name, tensors in (("a", a), ("b", b)):
            write_safetensors(self.path(f"{name}.safetensors"), tensors)
        return self.nwc_json("diff", self.path("a.safetensors"), self.path("b.safetensors"), expect=expect)

    def test_other_tensors(self):
        x = gaussian(self.rng, "F32", (4, 6))
        flat = ("F32", [24], x[2])
        half = ("F16", [4, 6], np.frombuffer(x[2], "<f4").astype("<f2").tobytes())
        found = self.diff({"x": x, "only a": x}, {"x": x, "only b": x}, 1)
        self.assertEqual((found["only_in_a"], found["only_in_b"]), (["only a"], ["only b"]))
        found = self.diff({"x": x}, {"x": flat}, 1)
        self.assertEqual(found["shape_mismatches"], 1)
        found = self.diff({"x": x}, {"x": half}, 1)
        self.assertEqual(found["dtype_mismatches"], 1)
        self.assertGreater(found["tensors"][0]["snr_db"], 60)

    def test_numbers_alone_are_no_failure(self):
        x = ("F32", [4], np.array([1, 2, 3, np.nan], "<f4").tobytes())
        y = ("F32", [4], np.array([1, 2, 4, np.inf], "<f4").tobytes())
        self.assertTrue(self.diff({"x": x}, {"x": x}, 0)["tensors"][0]["identical"])
        found = self.diff({"x": x}, {"x": y}, 0)["tensors"][0]
        self.assertFalse(found["identical"])
        self.assertEqual((found["max_abs"], found["nonfinite_mismatches"]), (1, 1))
        self.assertAlmostEqual(found["rel_mse"], 1 / 14)

    def test_rows_without_variance_are_left_out(self):
        values = self.rng.standard_normal((64, 64)).astype(np.float32) + 100
        values[3] = 7
        other = values + np.float32(0.5)
        tensors = [{"x.weight": ("F32", [64, 64], v.tobytes()), "embed.weight": ("F32", [64, 64], v.tobytes())}
                   for v in (values, other)]
        found = self.diff(*tensors, 0)
        a, b = values.astype(np.float64), other.astype(np.float64)
        keep = np.arange(64) != 3
        expected = (np.square(a - b).mean(axis=1) / np.maximum(a.var(axis=1), 1e-30))[keep].mean()
        self.assertEqual(found["rows"], 63)
        self.assertAlmostEqual(found["row_normalized_mse"], expected, delta=1e-9)


if __name__ == "__main__":
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
