#!/usr/bin/env python3
"""Programs that are killed or run out of disk: nothing half-written stays, and the next run works.

    tests/cli/kill_test.py BIN_DIR TEST_DATA_FILE

BIN_DIR holds nwc and nwc-pack; TEST_DATA_FILE is a .safetensors file with real weights
(tests/data/minilm_layer/model.safetensors). NWC_KILLS in the environment: how many times nwc-pack is
killed, 25 by default. Needs numpy.
"""
import pathlib
import random
import resource
import sys
import time
import unittest

from cli_support import KILLS, CliCase, layers_of

SEED = 20240607


class Killed(CliCase):
    def duration(self, *arguments):
        begun = time.monotonic()
        self.pack(*arguments)
        return time.monotonic() - begun

    def names(self):
        return {p.name for p in self.folder.iterdir()}

    def test_whole_or_absent_whenever_it_is_killed(self):
        # Half of the moments come late, where the file is written, synced and gets its name.
        first, again, output = self.path("first.nwc"), self.path("again.nwc"), self.path("m.nwc")
        options = ("--bits", 4, "--threads", 2)
        durations = [self.duration(self.data_file, first, *options),
                     self.duration(self.data_file, again, *options)]
        whole = first.read_bytes()
        self.assertEqual(whole, again.read_bytes())
        again.unlink()
        self.nwc("verify", "--deep", first, "-q")
        moments = random.Random(SEED)
        counts = {"killed": 0, "absent": 0, "whole": 0, "left a temporary": 0}
        for number in range(KILLS):
            earliest = 0.0 if number % 2 == 0 else 0.9
            moment = moments.uniform(earliest, 1.1) * max(durations)
            status = self.kill(moment, "nwc-pack", self.data_file, "-o", output, "-q", *options)
            counts["killed"] += status != 0
            # A temporary of an earlier kill is gone: the next run for the same name cleans up.
            left = [p for p in self.folder.iterdir() if ".tmp-" in p.name]
            self.assertLessEqual(len(left), 1, left)
            counts["left a temporary"] += len(left)
            if output.exists():
                counts["whole"] += 1
                self.assertEqual(output.read_bytes(), whole)
                self.nwc("verify", "--deep", output, "-q")
                output.unlink()
            else:
                counts["absent"] += 1
                self.assertNotEqual(status, 0)
        print(f"kills {KILLS}: {counts}", flush=True)
        self.assertGreater(counts["killed"], KILLS // 4)
        self.pack(self.data_file, output, *options)
        self.assertEqual(output.read_bytes(), whole)
        self.assertEqual(self.names(), {"first.nwc", "m.nwc"})

    def test_what_was_there_before_stays_whole(self):
        old_source = self.checkpoint(layers_of(self.rng, 1), name="old")
        output, fresh = self.path("m.nwc"), self.path("fresh.nwc")
        old = self.pack(old_source, output).read_bytes()
        duration = self.duration(self.data_file, fresh)
        moments = random.Random(SEED + 1)
        for _ in range(max(5, KILLS // 5)):
            self.kill(moments.uniform(0, 1.05) * duration, "nwc-pack",
                      self.data_file, "-o", output, "-q", "--force")
            self.assertIn(output.read_bytes(), (old, fresh.read_bytes()))
            output.write_bytes(old)
        self.pack(self.data_file, output, "--force")
        self.assertEqual(output.read_bytes(), fresh.read_bytes())
        self.assertEqual(self.names(), {"old", "m.nwc", "fresh.nwc"})


class DiskFull(CliCase):
    """A limit on the size of files stands in for a full disk: the write that passes it fails."""

    def fails_below(self, program, arguments, output, content, steps=6):
        self.path("room").mkdir()
        target = self.path("room") / output
        for limit in sorted({0, 1, 4096, len(content) - 1} | {len(content) * i // steps for i in range(steps)}):
            if limit >= len(content):
                continue
            done = self.run_program(program, *arguments, "-o", target, "-q", expect=3,
                                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            self.assertIn(str(target), done.stderr)
            self.assertIn("free some space", done.stderr)
            self.assertEqual(list(self.path("room").iterdir()), [], (program, limit))
        self.run_program(program, *arguments, "-o", target, "-q")
        found = target if target.is_file() else target / "model.safetensors"
        self.assertEqual(found.read_bytes(), content)

    def packed(self):
        return self.pack(self.checkpoint(layers_of(self.rng, 3)), self.path("m.nwc"))

    def test_pack(self):
        packed = self.packed()
        self.fails_below("nwc-pack", (self.path("checkpoint"),), "out.nwc", packed.read_bytes())

    def test_unpack(self):
        self.nwc("unpack", self.packed(), "-o", self.path("out"), "-q")
        content = (self.path("out") / "model.safetensors").read_bytes()
        self.fails_below("nwc", ("unpack", self.path("m.nwc")), "folder", content)

    def test_fetch(self):
        arguments = ("fetch", self.packed(), "--layers", "1")
        self.nwc(*arguments, "-o", self.path("part"), "-q")
        self.fails_below("nwc", arguments, "out.safetensors", self.path("part").read_bytes())

    def test_manifest(self):
        arguments = ("manifest", self.packed())
        self.nwc(*arguments, "-o", self.path("m.json"), "-q")
        self.fails_below("nwc", arguments, "out.json", self.path("m.json").read_bytes())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    CliCase.data_file = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
