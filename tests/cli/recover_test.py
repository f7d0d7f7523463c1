#!/usr/bin/env python3
"""Tests of nwc-pack --recover as users run it.

    tests/cli/recover_test.py BIN_DIR

BIN_DIR holds nwc, nwc-pack and nwc-eval. Needs numpy.
"""
import json
import pathlib
import signal
import subprocess
import sys
import time
import unittest

from cli_support import CliCase
from eval_test import EvalCase

OPTIONS = ("--bits", 2, "--calibration-windows", 48, "--threads", 1)


class Recovery(EvalCase):
    def setUp(self):
        super().setUp()
        self.folder_of_model = self.model()
        self.text = self.random_tokens(48, 32)

    def recovered(self, name, *arguments):
        done = self.run_program("nwc-pack", self.folder_of_model, "-o", self.path(name), "--json",
                                "-q", *OPTIONS, "--recover", "--recover-text", self.text,
                                *arguments)
        return json.loads(done.stdout)

    def test_gains_what_it_says_and_verifies(self):
        report = self.recovered("r.nwc")
        figures = report["recovery"]
        self.assertEqual(figures["measure"], "kl")
        self.assertLess(figures["after"], 0.97 * figures["before"])
        self.nwc("verify", "--deep", self.path("r.nwc"), "-q")
        inspected = self.inspect(self.path("r.nwc"))
        self.assertEqual(report["file_bytes"], self.path("r.nwc").stat().st_size)
        self.assertAlmostEqual(report["linear_bits_per_weight"],
                               inspected["linear_bits_per_weight"], delta=0.02)
        plain = self.pack(self.folder_of_model, self.path("p.nwc"), *OPTIONS[:2], "--threads", 1)
        kl = [self.eval_json("--model", self.folder_of_model, "--packed", packed, "--text",
                             self.text, "--windows", 48, "--length", 32)["kl"]
              for packed in (self.path("r.nwc"), plain)]
        self.assertLess(kl[0], kl[1])
        self.assertEqual(sorted(p.name for p in self.folder.glob("*.trial*")), [])

    def test_same_bytes_again_and_after_a_stop(self):
        self.recovered("a.nwc")
        self.recovered("b.nwc")
        whole = self.path("a.nwc").read_bytes()
        self.assertEqual(whole, self.path("b.nwc").read_bytes())
        command = self.command("nwc-pack", self.folder_of_model, "-o", self.path("c.nwc"), "-q",
                               *OPTIONS, "--recover", "--recover-text", self.text, "--work",
                               self.path("work"))
        running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while running.poll() is None and not list(self.folder.glob("work/tensor-9-*.part")):
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        running.wait()
        subprocess.run(command, check=True, capture_output=True)
        self.assertEqual(whole, self.path("c.nwc").read_bytes())

    def test_wrong_use(self):
        one = self.tokens(self.rng.integers(0, 96, (1, 32)), "one.safetensors")
        pack = ("nwc-pack", self.folder_of_model, "-o", self.path("x.nwc"), "--recover")
        for pattern, arguments in (("--recover has no text", ()),
                                   ("excludes", ("--kl", 0.1, "--kl-text", self.text)),
                                   ("at least 2 windows", ("--recover-text", one))):
            self.assertRegex(self.run_program(*pack, *arguments, expect=2).stderr, pattern)
        self.assertFalse(self.path("x.nwc").exists())


if __name__ == "__main__":
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    del EvalCase
    unittest.main()
