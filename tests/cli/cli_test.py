#!/usr/bin/env python3
"""Tests of the programs as users run them.

    tests/cli/cli_test.py BIN_DIR [TEST_DATA_FILE]

BIN_DIR holds nwc and nwc-pack; TEST_DATA_FILE is a .safetensors file with real weights
(tests/data/minilm_layer/model.safetensors). Makes its other checkpoints itself. Needs numpy.
"""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import unittest

import numpy as np

from cli_support import (CliCase, decode, every_dtype, gaussian, layers_of, read_safetensors,
                         write_safetensors)

COMMANDS = ("inspect", "verify", "unpack", "fetch", "diff", "bench")


class RoundTrip(CliCase):
    def test_exact_and_raw_come_back_byte_for_byte(self):
        source = self.checkpoint(every_dtype(self.rng) | layers_of(self.rng, 1))
        for profile in ("exact", "raw"):
            packed = self.pack(source, self.path(f"{profile}.nwc"), "--profile", profile)
            self.nwc("verify", packed)
            self.nwc("verify", packed, "--deep")
            self.nwc("unpack", packed, "-o", self.path(profile))
            self.assert_same_folder(source, self.path(profile))
            self.assertTrue(self.nwc_json("diff", source, packed)["identical"])

    def test_stream_reaches_rate_and_quality(self):
        tensors = {f"layers.{i}.weight": gaussian(self.rng, dtype, (256, 512))
                   for i, dtype in enumerate(("F32", "F16", "BF16"))}
        tensors["layers.3.conv.weight"] = gaussian(self.rng, "F32", (128, 64, 3, 3))
        source = self.checkpoint(tensors)
        for bits, least_snr in ((3, 16), (4, 21.5), (6, 33)):
            packed = self.pack(source, self.path(f"{bits}.nwc"), "--bits", bits)
            self.nwc("verify", packed, "--deep")
            inspected = self.inspect(packed)
            self.assertAlmostEqual(inspected["linear_bits_per_weight"], bits, delta=0.04 * bits)
            self.assertEqual({t["profile"] for t in inspected["tensors"]}, {"stream"})
            for tensor in self.nwc_json("diff", source, packed)["tensors"]:
                self.assertGreater(tensor["snr_db"], least_snr, (bits, tensor["name"]))

    def test_diff_measures_what_unpack_writes(self):
        tensors = {"a.weight": gaussian(self.rng, "F32", (96, 160))}
        source = self.checkpoint(tensors)
        packed = self.pack(source, self.path("m.nwc"), "--bits", "3")
        self.nwc("unpack", packed, "-o", self.path("out"))
        unpacked, _ = read_safetensors(self.path("out") / "model.safetensors")
        a, b = (decode("F32", t["a.weight"][2]).reshape(96, 160) for t in (tensors, unpacked))
        found = self.nwc_json("diff", source, packed)
        measured = found["tensors"][0]
        relative = np.square(a - b).sum() / np.square(a).sum()
        rows = (np.square(a - b).mean(axis=1) / a.var(axis=1)).mean()
        self.assertAlmostEqual(measured["rel_mse"], relative, delta=1e-9)
        self.assertAlmostEqual(measured["snr_db"], -10 * np.log10(relative), delta=1e-6)
        self.assertAlmostEqual(measured["max_abs"], abs(a - b).max(), delta=1e-9)
        self.assertAlmostEqual(found["row_normalized_mse"], rows, delta=1e-9)
        self.assertEqual(self.nwc_json("diff", source, self.path("out"))["tensors"], found["tensors"])

    def test_weights_that_are_not_numbers_survive(self):
        dtype, shape, data = gaussian(self.rng, "BF16", (128, 128))
        bits = np.frombuffer(data, "<u2").copy()
        bits[[5, 999, 16000]] = [0x7F80, 0xFF80, 0x7FC1]
        source = self.checkpoint({"x.weight": (dtype, shape, bits.tobytes())})
        packed = self.pack(source, self.path("m.nwc"), "--bits", "4")
        self.nwc("verify", packed, "--deep")
        tensor = self.nwc_json("diff", source, packed)["tensors"][0]
        self.assertEqual(tensor["nonfinite_mismatches"], 0)

    def test_shards_and_files_come_back(self):
        source = self.sharded_checkpoint(layers_of(self.rng, 4) | every_dtype(self.rng))
        packed = self.pack(source, self.path("m.nwc"), "--profile", "exact")
        self.nwc("unpack", packed, "-o", self.path("out"))
        self.assert_same_folder(source, self.path("out"))
        self.pack(self.path("out"), self.path("again.nwc"), "--profile", "exact")
        self.assertEqual(packed.read_bytes(), self.path("again.nwc").read_bytes())

    def test_single_file_keeps_its_name(self):
        write_safetensors(self.path("some weights.safetensors"), layers_of(self.rng, 1))
        packed = self.pack(self.path("some weights.safetensors"), self.path("m.nwc"), "--profile", "raw")
        self.nwc("unpack", packed, "-o", str(self.path("out")) + "/")
        self.assertEqual([p.name for p in self.path("out").iterdir()], ["some weights.safetensors"])

    def test_all_ways_of_reading_and_decoding_agree(self):
        source = self.checkpoint(layers_of(self.rng, 2))
        packed = self.pack(source, self.path("m.nwc"))
        for number, change in enumerate(({}, {"NWC_IO": "pread"}, {"NWC_SIMD": "scalar"})):
            self.nwc("unpack", packed, "-o", self.path(str(number)), "--threads", number + 1,
                     env=os.environ | change)
            self.assert_same_folder(self.path("0"), self.path(str(number)))

    def test_real_weights(self):
        self.assertIsNotNone(self.data_file, "give TEST_DATA_FILE on the command line")
        packed = self.pack(self.data_file, self.path("m.nwc"), "--bits", "4")
        self.nwc("verify", packed, "--deep")
        self.assertAlmostEqual(self.inspect(packed)["linear_bits_per_weight"], 4, delta=0.04)
        found = self.nwc_json("diff", self.data_file, packed)
        for tensor in found["tensors"]:
            good = tensor["snr_db"] > 22.5 if tensor["linear"] else tensor["identical"]
            self.assertTrue(good, tensor)


class Packing(CliCase):
    def test_same_bytes_whatever_the_threads(self):
        source = self.sharded_checkpoint(layers_of(self.rng, 3))
        first = self.pack(source, self.path("1.nwc"), "--threads", "1").read_bytes()
        for name, threads in (("2", "2"), ("again", "1"), ("all", "0")):
            packed = self.pack(source, self.path(f"{name}.nwc"), "--threads", threads)
            self.assertEqual(packed.read_bytes(), first)

    def test_dry_run_writes_nothing(self):
        source = self.checkpoint(layers_of(self.rng, 2))
        before = sorted(p.name for p in self.folder.rglob("*"))
        plan = self.run_program("nwc-pack", source, "--dry-run").stdout
        report = self.run_program("nwc-pack", source, "-o", self.path("m.nwc"), "--dry-run", "--json")
        self.assertIn("model.layers.1.mlp.down_proj.weight", plan)
        self.assertTrue(json.loads(report.stdout)["dry_run"])
        self.assertEqual(sorted(p.name for p in self.folder.rglob("*")), before)

    def test_report_agrees_with_inspect(self):
        source = self.checkpoint(layers_of(self.rng, 2))
        done = self.run_program("nwc-pack", source, "-o", self.path("m.nwc"), "-q", "--json")
        packed, inspected = json.loads(done.stdout), self.inspect(self.path("m.nwc"))
        self.assertEqual(packed["file_bytes"], inspected["file_bytes"])
        self.assertAlmostEqual(packed["linear_bits_per_weight"], inspected["linear_bits_per_weight"])
        for a, b in zip(packed["tensors"], inspected["tensors"], strict=True):
            self.assertEqual((a["name"], a["packed_bytes"]), (b["name"], b["bytes"]))

    def test_existing_output_needs_force(self):
        source = self.checkpoint(layers_of(self.rng, 1))
        output = self.path("m.nwc")
        output.write_text("precious")
        self.pack(source, output, expect=2)
        self.assertEqual(output.read_text(), "precious")
        self.pack(source, output, "--force")
        self.nwc("verify", output)

    def kill_at_random_moments(self, which, check):
        source = self.checkpoint(layers_of(self.rng, 6, side=256))
        output = self.path("m.nwc")
        begun = time.monotonic()
        whole = self.pack(source, output).read_bytes()
        duration = time.monotonic() - begun
        moments = random.Random(which)
        for number in range(10):
            output.unlink(missing_ok=True)
            old = b"precious" if number % 2 else None
            if old:
                output.write_bytes(old)
            process = subprocess.Popen(self.command("nwc-pack", source, "-o", output, "-q", "--force"),
                                       stderr=subprocess.DEVNULL)
            time.sleep(moments.uniform(0, duration))
            process.send_signal(which)
            process.wait(timeout=60)
            found = output.read_bytes() if output.exists() else None
            self.assertIn(found, (old, whole))
            # A kill may come after the file has got its name and before the program has ended.
            if process.returncode and which != signal.SIGKILL:
                self.assertEqual(found, old)
            check(process.returncode)
        output.unlink(missing_ok=True)
        self.pack(source, output)
        self.assertEqual(output.read_bytes(), whole)
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"checkpoint", "m.nwc"})

    def test_interrupt_leaves_nothing(self):
        def check(status):  # an interrupt may come before the handler is there
            self.assertIn(status, (0, 128 + signal.SIGINT, -signal.SIGINT))
            self.assertFalse(list(self.folder.glob("*.tmp-*")))
        self.kill_at_random_moments(signal.SIGINT, check)

    def test_kill_leaves_nothing_under_the_name(self):
        self.kill_at_random_moments(
            signal.SIGKILL, lambda status: self.assertIn(status, (0, -signal.SIGKILL)))


class Fetching(CliCase):
    def setUp(self):
        super().setUp()
        # Distinct layers, each large enough to begin a page of its own.
        self.tensors = layers_of(self.rng, 4, side=384)
        self.packed = self.pack(self.checkpoint(self.tensors), self.path("m.nwc"), "--profile", "exact")
        self.output = self.path("part.safetensors")

    def names(self, part):
        return {name for name in self.tensors if part in name}

    def test_layers_and_names_are_united(self):
        report = self.nwc_json("fetch", self.packed, "--layers", "1-2", "--layers", "3", "--tensor",
                               "embed", "--tensor", r"^model\.norm", "-o", self.output)
        fetched, metadata = read_safetensors(self.output)
        self.assertEqual(set(fetched), set(self.tensors) - self.names("layers.0."))
        self.assertEqual(set(report["tensors"]), set(fetched))
        self.assertEqual(metadata, {"format": "pt"})
        for name, tensor in fetched.items():
            self.assertEqual(tensor, self.tensors[name])

    def test_reads_only_the_layer(self):
        report = self.nwc_json("fetch", self.packed, "--layers", "2", "-o", self.output)
        layer = [t for t in self.inspect(self.packed)["tensors"] if t["layer"] == 2]
        payload = sum(t["payload_bytes"] for t in layer)
        self.assertEqual(report["payload_bytes"], payload)
        self.assertLessEqual(report["bytes_read"] - report["index_bytes"], 1.02 * payload)
        self.assertLess(report["bytes_read"], 0.5 * report["file_bytes"])

    def test_damage_elsewhere_does_not_matter(self):
        self.nwc("fetch", self.packed, "--layers", "2", "-o", self.path("good.safetensors"))
        size = self.packed.stat().st_size
        refused = 0
        for position in range(4096 + size // 50, size - 8192, size // 25):
            self.flip(self.packed, position)
            done = subprocess.run(self.command("nwc", "fetch", self.packed, "--layers", "2", "-o",
                                               self.output, "--force"), capture_output=True, text=True)
            bad = self.nwc_json("verify", self.packed, expect=1)["problems"][0]["tensor"]
            self.assertEqual(done.returncode, 1 if ".layers.2." in bad else 0, done.stderr)
            refused += done.returncode
            if done.returncode == 0:
                self.assertEqual(self.output.read_bytes(), self.path("good.safetensors").read_bytes())
            self.flip(self.packed, position)
        self.assertGreater(refused, 0)

    def test_nothing_matches(self):
        done = self.nwc("fetch", self.packed, "--layers", "4-9", "-o", self.output, expect=2)
        self.assertIn("layers 0 to 3", done.stderr)
        done = self.nwc("fetch", self.packed, "--tensor", "model.layers.1.self_attn.k_proj.weight",
                        "-o", self.output, expect=2)
        self.assertIn("did you mean", done.stderr)
        self.assertFalse(self.output.exists())

    def test_existing_output_needs_force(self):
        self.output.write_text("precious")
        self.nwc("fetch", self.packed, "--layers", "1", "-o", self.output, expect=2)
        self.assertEqual(self.output.read_text(), "precious")
        self.nwc("fetch", self.packed, "--layers", "1", "-o", self.output, "--force")
        self.nwc("fetch", self.packed, "--layers", "1", "-o", self.packed, "--force", expect=2)
        self.nwc("verify", self.packed)


class Unpacking(CliCase):
    def setUp(self):
        super().setUp()
        self.source = self.checkpoint(layers_of(self.rng, 3, side=256))
        self.packed = self.pack(self.source, self.path("m.nwc"), "--profile", "exact")
        self.output = self.path("out")

    def test_folder_that_is_not_empty_needs_force(self):
        self.output.mkdir()
        self.nwc("unpack", self.packed, "-o", self.output)  # an empty one is taken
        (self.output / "old.txt").write_text("precious")
        self.nwc("unpack", self.packed, "-o", self.output, expect=2)
        self.assertEqual((self.output / "old.txt").read_text(), "precious")
        self.nwc("unpack", self.packed, "-o", self.output, "--force")
        self.assert_same_folder(self.source, self.output)

    def test_force_never_removes_folders_or_the_input(self):
        (self.output / "inner").mkdir(parents=True)
        self.nwc("unpack", self.packed, "-o", self.output, "--force", expect=2)
        self.assertTrue((self.output / "inner").is_dir())
        self.path("alone").mkdir()
        inside = self.packed.rename(self.path("alone") / "m.nwc")
        self.nwc("unpack", inside, "-o", self.path("alone"), "--force", expect=2)
        self.nwc("verify", inside)

    def test_bad_outputs(self):
        self.path("file").write_text("precious")
        self.path("link").symlink_to(self.source)
        for output in ("file", "link", "missing/out"):
            self.nwc("unpack", self.packed, "-o", self.path(output), "--force", expect=2)
        self.assertEqual(self.path("file").read_text(), "precious")

    def test_damage_leaves_nothing(self):
        self.flip(self.packed, self.packed.stat().st_size // 2)
        done = self.nwc("unpack", self.packed, "-o", self.output, expect=1)
        self.assertRegex(done.stderr, r"tensor 'model\.layers\.1\..*' chunk \d+")
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"checkpoint", "m.nwc"})

    def test_interrupt_and_kill_leave_nothing(self):
        moments = random.Random(1)
        for number in range(16):
            process = subprocess.Popen(
                self.command("nwc", "unpack", self.packed, "-o", self.output, "-q"),
                stderr=subprocess.DEVNULL)
            time.sleep(moments.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL if number % 2 else signal.SIGINT)
            process.wait(timeout=60)
            if self.output.exists():  # it had finished
                self.assert_same_folder(self.source, self.output)
                for file in self.output.iterdir():
                    file.unlink()
                self.output.rmdir()
        self.nwc("unpack", self.packed, "-o", self.output)
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"checkpoint", "m.nwc", "out"})


class Verifying(CliCase):
    def test_every_byte_counts(self):
        source = self.checkpoint(layers_of(self.rng, 1) | {"b": ("U8", [5], b"12345")})
        packed = self.pack(source, self.path("m.nwc"))
        for position in range(0, packed.stat().st_size, 397):
            self.flip(packed, position)
            for options in ((), ("--deep",)):
                report = self.nwc("verify", packed, "-q", *options, expect=1)
                self.assertRegex(report.stdout + report.stderr, r"R\d+", position)
            self.flip(packed, position)
        self.nwc("verify", packed)

    def test_names_every_tensor_and_chunk(self):
        data = {name: (f"I am tensor {name}. ".encode() * 200000)[:2500000] for name in "ABC"}
        source = self.checkpoint({n: ("U8", [50, 50000], d) for n, d in data.items()})
        packed = self.pack(source, self.path("m.nwc"), "--profile", "raw")
        raw = packed.read_bytes()
        begin = {name: raw.index(d[:1000]) for name, d in data.items()}
        self.flip(packed, begin["A"])
        self.flip(packed, begin["C"] + 2400000)
        report = self.nwc("verify", packed, expect=1)
        self.assertRegex(report.stdout, r"R20: .*tensor 'A' chunk 0 ")
        self.assertRegex(report.stdout, r"R20: .*tensor 'C' chunk [1-9]")
        self.assertNotIn("'B'", report.stdout)
        problems = self.nwc_json("verify", packed, expect=1)["problems"]
        self.assertEqual([p["tensor"] for p in problems], ["A", "C"])
        self.assertEqual([p["rule"] for p in problems], ["R20", "R20"])

    def test_names_the_rule(self):
        packed = self.pack(self.checkpoint(layers_of(self.rng, 1)), self.path("m.nwc"))
        raw = packed.read_bytes()
        tokenizer = raw.index(bytes(range(256)))
        places = {"R1": 0, "R2": 2000, "R7": len(raw) - 9, "R30": tokenizer, "R31": tokenizer + 256 * 3 + 3}
        for rule, position in places.items():
            self.flip(packed, position)
            problems = self.nwc_json("verify", packed, expect=1)["problems"]
            self.assertEqual([p["rule"] for p in problems], [rule])
            if rule == "R30":
                self.assertEqual(problems[0]["file"], "tokenizer.model")
            self.flip(packed, position)

    def test_truncated_or_longer(self):
        packed = self.pack(self.checkpoint(layers_of(self.rng, 1)), self.path("m.nwc"))
        raw = packed.read_bytes()
        for size in (0, 1, 8, 4095, 4096, len(raw) // 2, len(raw) - 1, len(raw) + 1):
            packed.write_bytes((raw + b"\0")[:size])
            for command in ("verify", "inspect"):
                self.nwc(command, packed, expect=1)
            self.assertFalse(self.nwc_json("verify", packed, expect=1)["ok"])


class CommandLine(CliCase):
    def packed(self):
        return self.pack(self.checkpoint(layers_of(self.rng, 2)), self.path("m.nwc"))

    def test_help_is_plain_text(self):
        for program in ("nwc", "nwc-pack", "nwc-train"):
            text = self.run_program(program, "--help").stdout
            self.assertTrue(all(c.isprintable() or c == "\n" for c in text), program)

    def test_help_and_version(self):
        text = self.nwc("--help").stdout
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", text)
            self.assertIn("--json", self.nwc(command, "-h").stdout)
        self.assertRegex(self.nwc("--version").stdout, r"^nwc \d+\.\d+")

    def test_missing_file(self):
        none, out = self.path("none.nwc"), self.path("out")
        for command in (("inspect", none), ("verify", none), ("bench", none), ("diff", none, none),
                        ("unpack", none, "-o", out), ("fetch", none, "--layers", "0", "-o", out)):
            self.assertIn(str(none), self.nwc(*command, expect=3).stderr)
        self.pack(none, out, expect=3)

    def test_wrong_usage(self):
        packed, out = self.packed(), self.path("out")
        for command in ((), ("frobnicate",), ("--frobnicate",), ("inspect",), ("inspect", packed, "--no"),
                        ("inspect", self.folder), ("verify", packed, "--threads", "-1"),
                        ("unpack", packed), ("fetch", packed, "-o", out), ("bench", packed, "--runs", "0"),
                        ("fetch", packed, "--tensor", "(", "-o", out),
                        ("fetch", packed, "--layers", "2-1", "-o", out),
                        ("fetch", packed, "--layers", "x", "-o", out), ("diff", packed)):
            self.nwc(*command, expect=2)
        for command in ((), (packed, "--no"), (packed, "-o", out, "--bits", "99"),
                        (packed, "-o", out, "--rule", "(=raw"), (packed, "-o", out, "--rule", "x=best"),
                        (packed, "-o", out, "--include", "["), (self.path("checkpoint"),)):
            self.run_program("nwc-pack", *command, expect=2)
        self.assertFalse(out.exists())

    def test_json_has_its_keys(self):
        packed = self.packed()
        reports = {
            "inspect": (self.inspect(packed), "file_bytes weights bits_per_weight linear_weights "
                        "linear_bits_per_weight tensors overhead_bytes overhead_fraction root_hash version "
                        "producer options files codecs layers"),
            "verify": (self.nwc_json("verify", packed), "ok deep root_hash problems"),
            "diff": (self.nwc_json("diff", packed, packed), "tensors row_normalized_mse only_in_a only_in_b"),
            "unpack": (self.nwc_json("unpack", packed, "-o", self.path("o")), "bytes_written seconds"),
            "fetch": (self.nwc_json("fetch", packed, "--layers", "0", "-o", self.path("p")),
                      "bytes_read index_bytes tensors"),
            "bench": (self.nwc_json("bench", packed, "--runs", "2"),
                      "decode_gweights_per_second_per_core hash_gb_per_second hash_share_of_load "
                      "load_hot_seconds load_cold_seconds decode_one_core decode_all_threads"),
        }
        for command, (report, keys) in reports.items():
            self.assertLessEqual(set(keys.split()), set(report), command)
        inspected = reports["inspect"][0]
        self.assertEqual(inspected["file_bytes"], packed.stat().st_size)
        self.assertEqual(inspected["layers"], [0, 1])
        self.assertLessEqual({"name", "shape", "dtype", "profile", "bytes", "bits_per_weight"},
                             set(inspected["tensors"][0]))
        self.assertLessEqual({"name", "snr_db", "rel_mse", "max_abs"}, set(reports["diff"][0]["tensors"][0]))

    def test_sizes_add_up(self):
        report = self.inspect(self.packed())
        payload = sum(t["payload_bytes"] for t in report["tensors"])
        files = sum(f["bytes"] for f in report["files"])
        self.assertEqual(report["overhead_bytes"], report["file_bytes"] - payload - files)
        linear = [t for t in report["tensors"] if t["linear"]]
        size = sum(t["payload_bytes"] + 24 * t["chunks"] for t in linear) + report["codec_bytes"]
        self.assertAlmostEqual(report["linear_bits_per_weight"], 8 * size / report["linear_weights"])

    def test_output_that_cannot_be_written(self):
        packed = self.packed()
        for command in (("inspect", packed), ("--help",), ("diff", packed, packed)):
            with open("/dev/full", "w") as full:
                done = subprocess.run(self.command("nwc", *command), stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 3, command)
            reading, writing = os.pipe()
            os.close(reading)
            done = subprocess.run(self.command("nwc", *command), stdout=writing, stderr=subprocess.PIPE)
            os.close(writing)
            self.assertEqual(done.returncode, 3, command)

    def test_quiet_is_quiet(self):
        packed = self.packed()
        for command in (("verify", packed), ("diff", packed, packed), ("unpack", packed, "-o", self.path("o")),
                        ("fetch", packed, "--layers", "0", "-o", self.path("p"))):
            self.assertEqual(self.nwc(*command, "-q").stderr, "")

    def test_nwc_runs_without_torch(self):
        libraries = subprocess.run(["ldd", str(self.binaries / "nwc")], capture_output=True, text=True, check=True)
        self.assertNotRegex(libraries.stdout, r"lib(torch|c10|cuda)")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    CliCase.binaries = pathlib.Path(sys.argv[1]).resolve()
    if len(sys.argv) == 3:
        CliCase.data_file = pathlib.Path(sys.argv[2]).resolve()
    else:
        RoundTrip.test_real_weights = unittest.skip("no TEST_DATA_FILE given")(RoundTrip.test_real_weights)
    unittest.main(argv=sys.argv[:1], verbosity=2)


if __name__ == "__main__":
    main()
