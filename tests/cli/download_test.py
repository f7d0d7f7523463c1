#!/usr/bin/env python3
"""nwc fetch of whole containers: from a web server that fails in many ways, and from the disk.

    tests/cli/download_test.py BIN_DIR

BIN_DIR holds nwc and nwc-pack. Needs numpy.
"""
import json
import pathlib
import resource
import signal
import subprocess
import sys
import time
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from cli_support import CliCase, layers_of  # noqa: E402
from range_server import RangeServer  # noqa: E402

RUN = 4 << 20  # bytes of a request at most
SLACK = 2 * RUN  # what a cut through chunks and the index may cost again
CONTAINERS = {}  # by seed, for all tests


class Downloads(CliCase):
    def setUp(self):
        super().setUp()
        self.packed, self.whole = self.path("m.nwc"), self.container(seed=1)
        self.packed.write_bytes(self.whole)
        self.server = RangeServer({"m.nwc": self.whole})
        self.addCleanup(self.server.close)
        self.room = self.path("room")
        self.room.mkdir()
        self.output, self.part = self.room / "out.nwc", self.room / "out.nwc.part"

    def random_checkpoint(self, seed):
        """24 MiB: a copy takes seven requests."""
        rng = np.random.default_rng(seed)
        tensors = {f"layers.{i}.weight": ("U8", [2048, 1024], rng.bytes(2 << 20)) for i in range(12)}
        return self.checkpoint(tensors, f"random{seed}")

    def container(self, seed):
        if seed not in CONTAINERS:
            packed = self.pack(self.random_checkpoint(seed), self.path("random.nwc"), "--profile", "raw")
            CONTAINERS[seed] = packed.read_bytes()
        return CONTAINERS[seed]

    def fetch(self, *options, source=None, expect=0, **more):
        return self.nwc("fetch", source or self.server.url("m.nwc"), "-o", self.output, "-q", *options,
                        expect=expect, **more)

    def fetch_json(self, **more):
        return json.loads(self.fetch("--json", **more).stdout)

    def names(self):
        return sorted(p.name for p in self.room.iterdir())

    def assert_done(self, content=None):
        self.assertEqual(self.output.read_bytes(), content or self.whole)
        self.assertEqual(self.names(), ["out.nwc"])

    def interrupt(self, after, which=signal.SIGKILL):
        """Stops a download that has nearly `after` bytes of payload, and hangs for more."""
        self.server.hang(after)
        process = subprocess.Popen(self.command("nwc", "fetch", self.server.url("m.nwc"), "-o", self.output, "-q"),
                                   stderr=subprocess.PIPE, text=True)
        self.assertTrue(self.server.hanging.wait(30))
        until = time.monotonic() + 10
        # Answered; is it on the disk? A run keeps half of itself at least, cut through chunks of half its size.
        while self.written() < after - RUN and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(which)
        _, errors = process.communicate(timeout=30)
        self.assertEqual(self.names(), ["out.nwc.part"])
        self.server.forget()
        return process.returncode, errors

    def written(self):
        """Bytes of the part that are not zero, by the page."""
        content = self.part.read_bytes() if self.part.exists() else b""
        return sum(4096 for at in range(0, len(content), 4096) if any(content[at:at + 64]))

    def payload(self):
        """Offset of the index, where the payload is over."""
        return int.from_bytes(self.whole[24:32], "little")


class Whole(Downloads):
    def test_every_byte_comes_once(self):
        report = self.fetch_json()
        self.assert_done()
        self.assertEqual(report["file_bytes"], len(self.whole))
        self.assertEqual(report["bytes_kept"], 0)
        self.assertLess(self.server.bytes_served(), len(self.whole) + 600_000)  # index and head twice
        self.assertEqual([c["file"] for c in report["containers"]], ["m.nwc"])
        self.assertEqual(report["containers"][0]["root_hash"], self.inspect(self.packed)["root_hash"])

    def test_text_says_what_came(self):
        done = self.nwc("fetch", self.server.url("m.nwc") + "?secret=1", "-o", self.output)
        self.assertRegex(done.stdout, r"out.nwc: 25\.\d+ MB, all hashes match; read 25\.\d+ MB;")
        self.assertIn("verifying", done.stderr)
        self.assertNotIn("secret", done.stdout + done.stderr)

    def test_every_profile_and_metadata_file(self):
        source = self.checkpoint(layers_of(self.rng, 2), "small")
        for profile in ("exact", "stream"):
            packed = self.pack(source, self.path(f"{profile}.nwc"), "--profile", profile)
            self.server.files["m.nwc"] = packed.read_bytes()
            self.fetch("--force")
            self.assert_done(packed.read_bytes())

    def test_a_local_file(self):
        report = self.fetch_json(source=self.packed)
        self.assert_done()
        self.assertGreaterEqual(report["bytes_read"], len(self.whole))

    def test_an_output_that_is_there(self):
        self.output.write_text("mine")
        self.assertIn("--force", self.fetch(expect=2).stderr)
        self.assertEqual(self.output.read_text(), "mine")
        self.fetch("--force")
        self.assert_done()
        for own in ((), ("--force",)):
            self.nwc("fetch", self.output, "-o", self.output, *own, expect=2)

    def test_names_that_are_refused(self):
        url = self.server.url("m.nwc")
        for options, word in ((("-o", "x.safetensors"), "--tensor"), (("-o", "x"), "--tensor"),
                              (("--layers", "0", "-o", "x.nwc"), "another name"),
                              (("-o", "nowhere/x.nwc"), "not a folder")):
            self.assertIn(word, self.nwc("fetch", url, *options, "-q", expect=2, cwd=self.room).stderr)
        self.assertEqual(self.names(), [])

    def test_a_file_that_is_not_there(self):
        self.assertIn("404", self.fetch(source=self.server.url("none.nwc"), expect=3).stderr)
        self.fetch(source=self.path("none.nwc"), expect=3)
        self.assertEqual(self.names(), [])

    def test_a_server_without_ranges_says_so(self):
        self.server.ranges = False
        self.assertIn("does not know ranges", self.fetch(expect=3).stderr)
        self.assertEqual(self.names(), [])


class Resumed(Downloads):
    def test_after_sigkill_nothing_comes_twice(self):
        code, _ = self.interrupt(3 * RUN)
        self.assertEqual(code, -signal.SIGKILL)
        self.nwc("inspect", self.part, expect=1)  # no container yet
        report = self.fetch_json()
        self.assert_done()
        self.assertGreater(report["bytes_kept"], 3 * RUN - SLACK)
        self.assertLess(self.server.bytes_served(), len(self.whole) - 3 * RUN + SLACK)

    def test_after_a_signal_it_says_how_to_go_on(self):
        code, errors = self.interrupt(2 * RUN, signal.SIGINT)
        self.assertEqual(code, 130)
        self.assertIn("out.nwc.part: the same command goes on", errors)
        self.fetch()
        self.assert_done()

    def test_from_another_address(self):
        self.interrupt(3 * RUN)
        self.server.files["mirror.nwc"] = self.whole
        self.fetch(source=self.server.url("mirror.nwc"))
        self.assert_done()
        self.assertLess(self.server.bytes_served(), len(self.whole) - 3 * RUN + SLACK)

    def test_damage_of_the_part_is_found_and_mended(self):
        self.interrupt(3 * RUN)
        for at in (5000, 70_000, self.payload() // 8):
            self.flip(self.part, at)
        self.fetch()
        self.assert_done()

    def test_another_version_starts_anew(self):
        self.interrupt(2 * RUN)
        other = self.container(seed=2)
        self.server.files["m.nwc"], self.server.tags["m.nwc"] = other, '"two"'
        done = self.fetch()
        self.assertIn("another version", done.stderr)
        self.assert_done(other)

    def test_the_same_bytes_under_another_tag_go_on(self):
        self.interrupt(3 * RUN)
        self.server.tags["m.nwc"] = '"two"'
        self.assertNotIn("another version", self.fetch().stderr)
        self.assert_done()
        self.assertLess(self.server.bytes_served(), len(self.whole) - 3 * RUN + SLACK)

    def test_a_part_that_is_damaged_where_it_begins(self):
        for at in (3, 40, self.payload() + 50):  # magic number, superblock, index
            self.interrupt(2 * RUN)
            self.flip(self.part, at)
            if at < 8:
                self.assertIn("rename or remove", self.fetch(expect=2).stderr)
                self.part.unlink()
            self.fetch()
            self.assert_done()
            self.output.unlink()

    def test_two_at_once_do_not_share_a_part(self):
        self.server.hang(RUN)
        process = subprocess.Popen(self.command("nwc", "fetch", self.server.url("m.nwc"), "-o", self.output, "-q"))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertTrue(self.server.hanging.wait(30))
        self.assertIn("another process", self.fetch(source=self.packed, expect=2).stderr)


class Faults(Downloads):
    def test_answers_that_break_off(self):
        self.server.cut = 6
        self.fetch()
        self.assert_done()

    def test_a_server_that_is_gone_leaves_the_part(self):
        self.server.cut = 10**9  # each answer half of what is left, until the retries are used up
        done = self.fetch(expect=3)
        self.assertIn("out.nwc.part: the same command goes on", done.stderr)
        self.assertEqual(self.names(), ["out.nwc.part"])
        self.server.cut = 0
        self.fetch()
        self.assert_done()

    def test_a_file_that_changes_meanwhile(self):
        other = self.container(seed=2)
        self.server.hang(RUN)
        process = subprocess.Popen(self.command("nwc", "fetch", self.server.url("m.nwc"), "-o", self.output, "-q"),
                                   stderr=subprocess.PIPE, text=True)
        self.assertTrue(self.server.hanging.wait(30))
        self.server.files["m.nwc"], self.server.tags["m.nwc"] = other, '"two"'
        self.server.forget()
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 3, errors)
        self.assertIn("replaced while open", errors)
        self.assertFalse(self.output.exists())
        self.fetch()
        self.assert_done(other)

    def test_a_corrupt_chunk_is_named_and_fetched_again(self):
        bad = bytearray(self.whole)
        bad[self.payload() // 2] ^= 1
        self.server.files["m.nwc"] = bytes(bad)
        done = self.fetch(expect=1)
        self.assertRegex(done.stderr, r"tensor 'layers\.\d+\.weight' chunk \d+")
        self.assertIn("R20", done.stderr)
        self.assertEqual(self.names(), ["out.nwc.part"])
        self.server.files["m.nwc"] = self.whole
        self.server.forget()
        report = self.fetch_json()
        self.assert_done()
        self.assertLess(report["bytes_read"], 2 * RUN)
        self.assertLess(self.server.bytes_served(), 2 * RUN)

    def test_a_full_disk_keeps_the_part(self):
        full = lambda size: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
        done = self.fetch(expect=3, preexec_fn=full(len(self.whole) - 1))  # known before anything is fetched
        self.assertIn("free some space", done.stderr)
        self.assertLess(self.server.bytes_served(), 600_000)
        self.interrupt(3 * RUN)
        done = self.fetch(expect=3, preexec_fn=full(3 * RUN))
        self.assertIn("free some space", done.stderr)
        self.assertIn("out.nwc.part: the same command goes on", done.stderr)
        self.fetch()
        self.assert_done()


class Sets(Downloads):
    def setUp(self):
        super().setUp()
        self.folder_of_set = self.path("set")
        self.folder_of_set.mkdir()
        self.source = self.random_checkpoint(seed=3)
        self.pack_set()
        self.contents = {p.name: p.read_bytes() for p in self.folder_of_set.iterdir()}
        self.server.files = dict(self.contents)
        self.output = self.room / "copy"

    def pack_set(self, *options):
        self.pack(self.source, self.folder_of_set / "s.nwc", "--profile", "raw", "--shard-size", "7MB", *options)

    def copied(self):
        return {p.name: p.read_bytes() for p in self.output.iterdir()}

    def test_shards_and_index_come_as_they_are(self):
        first = min(n for n in self.contents if n.startswith("s-"))
        for source in (self.server.url("s.nwc.index.json"), self.server.url(first), self.folder_of_set):
            report = self.fetch_json(source=source)
            self.assertEqual(self.copied(), self.contents)
            self.assertEqual(self.names(), ["copy"])
            self.assertEqual(len(report["containers"]), len(self.contents) - 1)
            self.nwc("verify", "--deep", self.output, "-q")
            for path in self.output.iterdir():
                path.unlink()  # an empty folder is as good as none

    def test_an_interrupted_set_goes_on(self):
        self.server.hang(4 * RUN)
        process = subprocess.Popen(self.command("nwc", "fetch", self.server.url("s.nwc.index.json"), "-o", self.output))
        self.assertTrue(self.server.hanging.wait(30))
        time.sleep(0.3)
        process.kill()
        process.wait()
        self.assertEqual(self.names(), ["copy.part"])
        self.server.forget()
        report = self.fetch_json(source=self.server.url("s.nwc.index.json"))
        self.assertEqual(self.copied(), self.contents)
        self.assertGreater(report["bytes_kept"], RUN)
        self.assertLess(self.server.bytes_served(), sum(map(len, self.contents.values())) - RUN)

    def test_what_is_refused(self):
        url = self.server.url("s.nwc.index.json")
        self.assertIn("set of", self.nwc("fetch", url, "-o", self.room / "x.nwc", "-q", expect=2).stderr)
        self.output.mkdir()
        (self.output / "mine").write_text("mine")
        for options in ((), ("--force",)):
            self.assertIn("already exists", self.fetch(*options, source=url, expect=2).stderr)
        self.assertEqual(self.copied(), {"mine": b"mine"})
        part = self.room / "copy2.part"
        part.mkdir()
        (part / "mine").write_text("mine")
        done = self.nwc("fetch", url, "-o", self.room / "copy2", "-q", expect=2)
        self.assertIn("not of this set", done.stderr)

    def test_a_mixture_of_two_sets_is_refused(self):
        (self.source / "config.json").write_text('{"model_type": "other"}\n')
        self.pack_set("--force")
        name = max(n for n in self.contents if n.startswith("s-"))
        self.server.files[name] = (self.folder_of_set / name).read_bytes()
        self.assertIn("another pack", self.fetch(source=self.server.url("s.nwc.index.json"), expect=1).stderr)
        self.assertFalse(self.output.exists())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
