#!/usr/bin/env python3
"""Sets of containers: nwc-pack --shard-size, and every command that reads them.

    tests/cli/shard_test.py BIN_DIR TEST_DATA_FILE

BIN_DIR holds nwc and nwc-pack; TEST_DATA_FILE is a .safetensors file with real weights
(tests/data/minilm_layer/model.safetensors). NWC_KILLS in the environment: how many times nwc-pack is
killed, 25 by default. Needs numpy.
"""
import json
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import time
import unittest

from cli_support import KILLS, CliCase, layers_of

SEED = 20240607
LIMIT = 300_000  # bytes a shard, of the layer: several shards, and tensors larger than one
INDEX = "m.nwc.index.json"


class Shards(CliCase):
    def setUp(self):
        super().setUp()
        self.source = self.folder / "source"
        self.source.mkdir()
        shutil.copy(self.data_file, self.source)
        (self.source / "config.json").write_text('{"model_type": "none"}\n')

    def pack_set(self, name, *arguments, limit=LIMIT, **options):
        folder = self.path(name)
        folder.mkdir(exist_ok=True)
        self.pack(self.source, folder / "m.nwc", "--shard-size", limit, *arguments, **options)
        return folder

    def shards(self, folder):
        return sorted(p.name for p in folder.glob("m-*-of-*.nwc"))

    def contents(self, folder):
        return {p.name: p.read_bytes() if p.is_file() else None for p in folder.iterdir()}

    def refused(self, file, *words, expect=1):
        for command in (("verify", file, "-q"), ("inspect", file),
                        ("unpack", file, "-o", self.path("never"), "-q"),
                        ("fetch", file, "--tensor", ".", "-o", self.path("never.safetensors")),
                        ("diff", self.source, file, "-q")):
            message = self.nwc(*command, expect=expect).stderr
            for word in words:
                self.assertIn(word, message)
        self.assertFalse(self.path("never").exists() or self.path("never.safetensors").exists())


class PackAndRead(Shards):
    def test_unpacks_like_one_container(self):
        for number, options in enumerate((("--profile", "exact"), ("--bits", 4),
                                          ("--rule", "query=raw", "--bits", 5))):
            one, folder = self.path(f"one{number}.nwc"), self.pack_set(f"set{number}", *options)
            self.pack(self.source, one, *options)
            names = self.shards(folder)
            self.assertGreater(len(names), 3)
            self.assertEqual(sorted(self.contents(folder)), sorted(names + [INDEX]))
            self.nwc("unpack", one, "-o", self.path(f"a{number}"), "-q")
            for way, file in enumerate((folder, folder / INDEX, folder / names[1],
                                        folder / "m.nwc", folder / "m")):
                out = self.path(f"b{number}-{way}")
                self.nwc("unpack", file, "-o", out, "-q")
                self.assert_same_folder(self.path(f"a{number}"), out)

    def test_every_shard_is_a_container_of_at_most_the_size(self):
        folder = self.pack_set("set", "--bits", 4)
        index = json.loads((folder / INDEX).read_text())
        self.assertEqual([s["file"] for s in index["shards"]], self.shards(folder))
        tensors = {}
        for number, shard in enumerate(index["shards"]):
            alone = self.path("alone.nwc")
            shutil.copy(folder / shard["file"], alone)
            self.nwc("verify", "--deep", alone, "-q")
            seen = self.inspect(alone)
            self.assertEqual(seen["file_bytes"], shard["size"])
            self.assertEqual(seen["root_hash"], shard["root_hash"])
            self.assertEqual(seen["options"]["shard"],
                             {"set": index["metadata"]["set"], "number": number + 1,
                              "count": len(index["shards"])})
            self.assertEqual([f["name"] for f in seen["files"]],
                             ["config.json"] if number == 0 else [])
            if shard["size"] > LIMIT:
                self.assertEqual(len(seen["tensors"]), 1)
            tensors |= {t["name"]: shard["file"] for t in seen["tensors"]}
        self.assertEqual(tensors, index["weight_map"])

    def test_the_set_is_one_pack(self):
        # The identity is the root hash of the container that is not split, and so its content.
        folder = self.pack_set("set", "--bits", 4)
        one = self.pack(self.source, self.path("one.nwc"), "--bits", 4)
        index = json.loads((folder / INDEX).read_text())
        whole, parts = self.inspect(one), self.inspect(folder)
        self.assertEqual(index["metadata"]["set"], whole["root_hash"])
        self.assertEqual(index["metadata"]["total_size"], whole["decoded_bytes"])
        for field in ("weights", "linear_weights", "payload_bytes", "decoded_bytes", "layers",
                      "files", "shards", "codecs"):
            self.assertEqual(parts[field], whole[field], field)
        self.assertEqual([t["name"] for t in parts["tensors"]],
                         [t["name"] for t in whole["tensors"]])
        self.assertIsNone(parts["root_hash"])
        self.assertEqual([c["root_hash"] for c in parts["containers"]],
                         [s["root_hash"] for s in index["shards"]])

    def test_same_bytes_again_on_any_thread_count(self):
        a = self.pack_set("a", "--bits", 4, "--threads", 1)
        b = self.pack_set("b", "--bits", 4, "--threads", 3)
        self.assertEqual(self.contents(a), self.contents(b))

    def test_sizes_with_units(self):
        for number, (text, limit) in enumerate((("1MB", 1_000_000), ("1MiB", 1 << 20),
                                                ("700kB", 700_000), ("1GB", 10 ** 9))):
            folder = self.pack_set(f"units{number}", "--profile", "exact", limit=text)
            index = json.loads((folder / INDEX).read_text())
            held = [list(index["weight_map"].values()).count(s["file"]) for s in index["shards"]]
            for shard, count in zip(index["shards"], held):
                self.assertTrue(shard["size"] <= limit or count == 1, shard)
            self.assertLessEqual(len(held), 6)
        self.assertEqual(self.shards(folder), ["m-00001-of-00001.nwc"])
        for wrong in ("0", "-5", "5 parsecs", "much"):
            self.run_program("nwc-pack", self.source, "-o", self.path("n.nwc"), "--shard-size",
                             wrong, expect=2)

    def test_a_checkpoint_in_several_files(self):
        self.source = self.sharded_checkpoint(layers_of(self.rng, 4))
        folder = self.pack_set("set", "--profile", "exact", limit=40_000)
        self.assertGreater(len(self.shards(folder)), 3)
        self.nwc("unpack", folder, "-o", self.path("out"), "-q")
        self.assert_same_folder(self.source, self.path("out"))

    def test_files_that_fill_the_first_shard(self):
        (self.source / "tokenizer.json").write_bytes(b"7" * LIMIT)
        folder = self.pack_set("set", "--profile", "exact")
        first = self.path("first.nwc")
        shutil.copy(folder / self.shards(folder)[0], first)
        self.assertEqual(self.inspect(first)["tensors"], [])
        self.nwc("verify", "--deep", folder, "-q")

    def test_fetch_verify_diff_and_report(self):
        folder = self.pack_set("set", "--profile", "exact")
        one = self.pack(self.source, self.path("one.nwc"), "--profile", "exact")
        for file, out in ((folder, "a.safetensors"), (one, "b.safetensors")):
            self.nwc("fetch", file, "--tensor", "query|output", "-o", self.path(out), "-q")
        self.assertEqual(self.path("a.safetensors").read_bytes(),
                         self.path("b.safetensors").read_bytes())
        verified = self.nwc_json("verify", "--deep", folder)
        self.assertEqual((verified["ok"], verified["shards"], verified["root_hash"]),
                         (True, len(self.shards(folder)), None))
        self.assertIn("0 with other values", self.nwc("diff", self.source, folder, "-q").stdout)
        done = self.run_program("nwc-pack", self.source, "-o", folder / "m.nwc", "--force",
                                "--shard-size", LIMIT, "--json", "-q")
        report = json.loads(done.stdout)
        self.assertEqual(report["file"], str(folder / INDEX))
        self.assertEqual(report["shards"], self.shards(folder))
        self.assertEqual(report["file_bytes"],
                         sum((folder / name).stat().st_size for name in report["shards"]))

    def test_with_a_work_folder(self):
        plain = self.pack_set("plain", "--bits", 4)
        worked = self.pack_set("worked", "--bits", 4, "--work", self.path("work"))
        self.assertEqual(self.contents(plain), self.contents(worked))
        self.assertFalse(self.path("work").exists())

    def test_commands_for_one_container_say_so(self):
        folder = self.pack_set("set", "--profile", "exact")
        done = self.nwc("bench", folder / INDEX, "-q", expect=2)
        self.assertIn("expected one container", done.stderr)

    def test_a_folder_that_is_packed_again_is_not_its_own_input(self):
        self.pack(self.source, self.source / "m.nwc", "--shard-size", LIMIT)
        again = self.pack_set("again")
        self.assertEqual(self.contents(again),
                         {n: b for n, b in self.contents(self.source).items() if n.startswith("m-")
                          or n == INDEX})
        self.nwc("unpack", again, "-o", self.path("out"), "-q")
        self.assertFalse((self.path("out") / INDEX).exists())


class Refused(Shards):
    def test_a_missing_swapped_or_truncated_shard(self):
        folder = self.pack_set("set", "--profile", "exact")
        good, names = self.contents(folder), self.shards(folder)
        for number, name in enumerate(names):
            (folder / name).unlink()
            self.refused(folder / INDEX, name, f"shard {number + 1} of {len(names)} is missing",
                         expect=3)
            other = names[(number + 1) % len(names)]
            (folder / name).write_bytes(good[other])
            self.refused(folder / INDEX, name, "another pack")
            (folder / name).write_bytes(good[name][:-100])
            self.refused(folder / INDEX, name)
            (folder / name).write_bytes(b"")
            self.refused(folder / INDEX, name)
            (folder / name).write_bytes(good[name])
        self.nwc("verify", "--deep", folder, "-q")

    def test_a_damaged_tensor_is_named_with_its_shard(self):
        folder = self.pack_set("set", "--profile", "exact")
        name = self.shards(folder)[-1]
        self.flip(folder / name, 5000)
        done = self.nwc("verify", folder, "-q", expect=1)
        self.assertIn(name, done.stdout)
        self.assertIn("R20", done.stdout)
        failed = self.nwc("unpack", folder, "-o", self.path("out"), "-q", expect=1)
        self.assertIn(name, failed.stderr)
        self.assertFalse(self.path("out").exists())

    def test_a_mixture_of_two_packs_and_a_stale_index(self):
        old = self.pack_set("old", "--profile", "exact")
        (self.source / "config.json").write_text('{"model_type": "other"}\n')
        new = self.pack_set("new", "--profile", "exact")
        names = self.shards(old)
        self.assertEqual(names, self.shards(new))
        before, after = self.contents(old), self.contents(new)
        # A kill between two renames: some shards are new, the index is not.
        for name in names:
            (old / name).write_bytes(after[name])
            self.refused(old / INDEX, "another pack")
            self.refused(old / name, "another pack")
        (old / INDEX).unlink()
        self.nwc("verify", "--deep", old / names[0], "-q")  # all of one pack
        (old / names[2]).write_bytes(before[names[2]])
        self.refused(old / names[0], names[2], "of set ")
        (old / names[2]).unlink()
        self.refused(old / names[0], names[2], "is missing", expect=3)

    def test_an_index_that_is_none(self):
        folder = self.pack_set("set", "--profile", "exact")
        for text in ("", "{}", "[]", '{"shards": [], "weight_map": {}}', "\xff"):
            (folder / INDEX).write_text(text, encoding="latin-1")
            self.refused(folder / INDEX, INDEX)

    def test_output_is_kept_without_force(self):
        folder = self.pack_set("set", "--profile", "exact")
        before = self.contents(folder)
        self.pack_set("set", "--bits", 4, expect=2)
        (folder / INDEX).unlink()
        self.pack_set("set", "--bits", 4, expect=2)
        (folder / INDEX).write_bytes(before[INDEX])
        self.assertEqual(self.contents(folder), before)
        # Shards of a set with another count go when the new index is there.
        self.pack_set("set", "--profile", "exact", "--force", limit="2MB")
        self.assertLess(len(self.shards(folder)), len(before) - 1)
        self.nwc("verify", folder, "-q")
        self.run_program("nwc-pack", self.source, "-o", folder / "m", "--shard-size", "1MB",
                         expect=2)

    def test_a_full_disk_leaves_the_old_set(self):
        folder = self.pack_set("set", "--profile", "exact")
        before = self.contents(folder)
        full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        done = self.pack_set_fails(folder, full)
        self.assertIn("too large", done.stderr)
        self.assertEqual(self.contents(folder), before)

    def pack_set_fails(self, folder, before):
        return self.run_program("nwc-pack", self.source, "-o", folder / "m.nwc", "--shard-size",
                                LIMIT, "--force", "-q", preexec_fn=before, expect=3)


class Killed(Shards):
    def test_nothing_that_opens_is_left_but_a_whole_set(self):
        # With an old set there, what opens is the old or the new one.
        options = ("--profile", "exact", "--threads", 2)
        begun = time.monotonic()
        new = self.contents(self.pack_set("new", *options))
        duration = time.monotonic() - begun
        old = self.contents(self.pack_set("old", "--profile", "raw"))
        folder, moments = self.path("set"), random.Random(SEED)
        counts = dict.fromkeys(("killed", "nothing", "old", "new", "refused"), 0)
        for number in range(KILLS):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            if number % 2:
                for name, content in old.items():
                    (folder / name).write_bytes(content)
            moment = moments.uniform(0.5 if number % 4 > 1 else 0.0, 1.1) * duration
            status = self.kill(moment, "nwc-pack", self.source, "-o", folder / "m.nwc", "-q",
                               "--force", "--shard-size", LIMIT, *options)
            counts["killed"] += status != 0
            counts[self.what_opens(folder, new, old)] += 1
            self.pack_set("set", *options, "--force")
            self.assertEqual(self.contents(folder), new)
        print(f"kills: {counts}", file=sys.stderr)

    def what_opens(self, folder, new, old):
        first = next(iter(self.shards(folder)), None)
        target = INDEX if (folder / INDEX).exists() else first
        if target is None:
            return "nothing"
        done = subprocess.run(self.command("nwc", "verify", "--deep", "-q", folder / target),
                              capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            return "refused"
        there = self.contents(folder)
        for label, whole in (("new", new), ("old", old)):
            shards = {n: b for n, b in whole.items() if n != INDEX}
            if shards.items() <= there.items() and there.get(INDEX, whole[INDEX]) == whole[INDEX]:
                return label
        self.fail("what opens is neither the old nor the new set")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    CliCase.data_file = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
