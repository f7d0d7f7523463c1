#!/usr/bin/env python3
"""Tests of nwc-pack --calibration, --stats, --kl, --work and --profile nwc as users run them.

    tests/cli/calibrate_test.py BIN_DIR

BIN_DIR holds nwc, nwc-pack, nwc-train and nwc-eval. Needs numpy.
"""
import json
import pathlib
import signal
import subprocess
import sys
import time
import unittest

import numpy

from cli_support import CliCase, encode
from eval_test import VOCABULARY, EvalCase


class Calibration(EvalCase):
    def setUp(self):
        super().setUp()
        self.folder_of_model = self.model()
        self.text = self.tokens(self.rng.integers(0, VOCABULARY, (16, 32)), "calibration.safetensors")
        self.other = self.tokens(self.rng.integers(0, VOCABULARY, (8, 32)), "other.safetensors")

    def calibrated(self, name, *arguments, model=None, expect=0, threads=1):
        return self.run_program("nwc-pack", model or self.folder_of_model, "-o", self.path(name),
                                "-q", "--json", "--threads", threads, *arguments, expect=expect)

    def statistics(self):
        self.calibrated("first.nwc", "--calibration", self.text, "--stats-out",
                        self.path("stats.safetensors"))
        return self.path("stats.safetensors")

    def kl(self, *packed):
        words = [word for path in packed for word in ("--packed", path)]
        found = self.eval_json("--model", self.folder_of_model, *words, "--text", self.other)
        return [r["kl"] for r in found] if isinstance(found, list) else [found["kl"]]

    def test_calibration_beats_packing_from_weights_alone(self):
        stats = self.statistics()
        self.calibrated("plain.nwc", "--bits", 3)
        self.calibrated("stats.nwc", "--bits", 3, "--stats", stats)
        self.nwc("verify", "--deep", self.path("stats.nwc"), "-q")
        plain, calibrated = self.kl(self.path("plain.nwc"), self.path("stats.nwc"))
        self.assertLess(calibrated, 0.9 * plain)

    def test_statistics_are_reused_to_the_same_bytes(self):
        stats = self.statistics()
        self.calibrated("a.nwc", "--bits", 3, "--stats", stats)
        self.calibrated("b.nwc", "--bits", 3, "--calibration", self.text)
        self.calibrated("c.nwc", "--bits", 3, "--stats", stats, threads=3)
        self.assertEqual(self.path("a.nwc").read_bytes(), self.path("b.nwc").read_bytes())
        self.assertEqual(self.path("a.nwc").read_bytes(), self.path("c.nwc").read_bytes())

    def test_rate_and_estimate_are_reported(self):
        report = json.loads(self.calibrated("m.nwc", "--bits", 4, "--stats", self.statistics()).stdout)
        self.assertAlmostEqual(report["linear_bits_per_weight"], 4, delta=0.2)  # a tiny model
        estimate = sum(t["kl_estimate"] for t in report["tensors"])
        measured, = self.kl(self.path("m.nwc"))
        self.assertGreater(estimate, 0.2 * measured)
        self.assertLess(estimate, 5 * measured)

    def test_comparison_switches_change_the_file(self):
        stats = self.statistics()
        files = set()
        for switches in ((), ("--importance", "ldl"), ("--importance", "diag"), ("--no-feedback",),
                         ("--importance", "none"), ("--quantizer", "scalar"),
                         ("--quantizer", "trellis4"), ("--lambda", 0), ("--damping", 0.1)):
            self.calibrated("m.nwc", "--force", "--bits", 3, "--stats", stats, *switches)
            self.nwc("verify", self.path("m.nwc"), "-q")
            files.add(self.path("m.nwc").read_bytes())
        self.assertEqual(len(files), 9)

    def test_kl_budget_is_kept(self):
        done = self.calibrated("m.nwc", "--kl", 0.05, "--kl-text", self.other, "--stats",
                               self.statistics())
        measured, = self.kl(self.path("m.nwc"))
        self.assertLessEqual(measured, 0.05 * 1.0001)
        self.assertAlmostEqual(json.loads(done.stdout)["kl"], measured, places=6)
        self.assertEqual(list(self.folder.glob("*trial*")), [])

    def test_a_killed_pack_goes_on_to_the_same_bytes(self):
        stats = self.statistics()
        self.calibrated("whole.nwc", "--bits", 3, "--stats", stats)
        command = self.command("nwc-pack", self.folder_of_model, "-o", self.path("m.nwc"), "-q",
                               "--bits", 3, "--stats", stats, "--work", self.path("work"))
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while running.poll() is None and not list(self.folder.glob("work/tensor-*.part")):
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        running.wait()
        if not self.path("m.nwc").exists():
            subprocess.run(command, check=True, capture_output=True)
        self.assertEqual(self.path("whole.nwc").read_bytes(), self.path("m.nwc").read_bytes())
        self.assertFalse(self.path("work").exists())

    def test_work_of_other_options_is_refused_unless_forced(self):
        stats = self.statistics()
        work = ("--stats", stats, "--work", self.path("work"))
        self.path("work").mkdir()
        (self.path("work") / "pack.json").write_text('{"options": "--bits 9"}')
        refused = self.calibrated("m.nwc", "--bits", 3, *work, expect=2)
        self.assertIn("was begun for another pack", refused.stderr)
        self.assertFalse(self.path("m.nwc").exists())
        self.calibrated("m.nwc", "--bits", 3, *work, "--force")

    def test_foreign_files_are_never_taken_for_work(self):
        self.path("work").mkdir()
        foreign = self.path("work") / "film.part"
        foreign.write_text("precious")
        refused = self.calibrated("m.nwc", "--work", self.path("work"), "--force", expect=2)
        self.assertIn("other files", refused.stderr)
        self.assertEqual(foreign.read_text(), "precious")

    def test_statistics_of_another_model_are_refused(self):
        stats = self.statistics()
        norm = ("F32", [64], encode("F32", numpy.full(64, 1.5)))
        other = self.model(lambda tensors: tensors.update({"model.norm.weight": norm}), "other")
        refused = self.calibrated("m.nwc", "--stats", stats, model=other, expect=2)
        self.assertIn("another model", refused.stderr)
        self.assertFalse(self.path("m.nwc").exists())

    def test_bad_input_is_explained(self):
        ids = numpy.full((2, 32), 5000)
        for pattern, arguments in (
                ("vocabulary", ("--calibration", self.tokens(ids, "beyond.safetensors"))),
                ("no statistics", ("--stats", self.folder_of_model / "model.safetensors")),
                ("--codec is missing", ("--profile", "nwc")),
                ("--kl-text", ("--kl", 0.1)),
                ("--calibration", ("--stats-out", self.path("s.safetensors")))):
            refused = self.calibrated("m.nwc", *arguments, expect=2)
            self.assertIn(pattern, refused.stderr)
            self.assertFalse(self.path("m.nwc").exists())

    def test_a_trained_codec_packs_as_profile_nwc(self):
        codec = self.path("codec.safetensors")
        self.run_program("nwc-train", self.folder_of_model, "--arch", "nwc", "--preset", "thin",
                         "--steps", 60, "--batch", 256, "-o", codec, "-q")
        self.calibrated("n.nwc", "--profile", "nwc", "--codec", codec, "--stats", self.statistics())
        self.nwc("verify", "--deep", self.path("n.nwc"), "-q")
        inspected = self.inspect(self.path("n.nwc"))
        self.assertIn("nwc", {t["profile"] for t in inspected["tensors"]})


if __name__ == "__main__":
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    del EvalCase
    unittest.main()
