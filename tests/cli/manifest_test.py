#!/usr/bin/env python3
"""nwc manifest and nwc verify --manifest.

    tests/cli/manifest_test.py BIN_DIR

BIN_DIR holds nwc and nwc-pack. Needs numpy.
"""
import hashlib
import http.server
import json
import os
import pathlib
import sys
import threading
import unittest

from cli_support import CliCase, every_dtype, layers_of, read_safetensors


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """One file, with ranges."""
    protocol_version = "HTTP/1.1"
    content = b""

    def do_GET(self):
        begin, end = self.headers["Range"].removeprefix("bytes=").split("-")
        part = self.content[int(begin):int(end) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        last = int(begin) + len(part) - 1
        self.send_header("Content-Range", f"bytes {begin}-{last}/{len(self.content)}")
        self.send_header("ETag", '"one"')
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


class Manifests(CliCase):
    def setUp(self):
        super().setUp()
        self.source = self.checkpoint(every_dtype(self.rng) | layers_of(self.rng, 2))
        self.packed = self.pack(self.source, self.path("m.nwc"), "--bits", 4)
        self.manifest = self.path("manifest.json")
        self.nwc("manifest", self.packed, "-o", self.manifest, "-q")
        self.content = json.loads(self.manifest.read_text())

    def write(self):
        self.manifest.write_text(json.dumps(self.content))

    def verify_fails(self, *messages, expect=1, file=None):
        done = self.nwc("verify", "--manifest", self.manifest, file or self.packed, "-q", expect=expect)
        for message in messages:
            self.assertIn(str(message), done.stderr)
        return done

    def differences(self):
        report = self.nwc_json("verify", "--manifest", self.manifest, self.packed, expect=1)
        self.assertFalse(report["ok"])
        self.assertEqual(report["problems"], [])
        self.assertTrue(report["manifest"]["compared"])
        return [(d["tensor"], d["what"], d["expected"], d["got"])
                for d in report["manifest"]["differences"]]

    def test_hashes_are_those_of_the_bytes(self):
        whole = self.packed.read_bytes()
        self.assertEqual(self.content["files"], [{"name": "m.nwc", "bytes": len(whole),
                                                  "sha256": hashlib.sha256(whole).hexdigest()}])
        self.nwc("unpack", self.packed, "-o", self.path("out"), "-q")
        tensors, _ = read_safetensors(self.path("out") / "model.safetensors")
        found = {t["name"]: (t["dtype"], t["shape"], t["sha256"]) for t in self.content["tensors"]}
        self.assertEqual(found, {name: (dtype, shape, hashlib.sha256(data).hexdigest())
                                 for name, (dtype, shape, data) in tensors.items()})
        self.assertEqual([t["name"] for t in self.content["tensors"]],
                         [t["name"] for t in self.inspect(self.packed)["tensors"]])

    def test_a_good_container_passes(self):
        done = self.nwc("verify", "--manifest", self.manifest, self.packed)
        self.assertIn("all is as the manifest says", done.stdout)
        report = self.nwc_json("verify", "--manifest", self.manifest, self.packed)
        self.assertEqual((report["ok"], report["manifest"]["differences"]), (True, []))
        self.nwc("verify", "--deep", "--manifest", self.manifest, self.packed, "-q")

    def test_same_manifest_however_it_is_read(self):
        for number, change in enumerate(({"NWC_IO": "pread"}, {"NWC_SIMD": "scalar"})):
            again = self.path(f"{number}.json")
            self.nwc("manifest", self.packed, "-o", again, "--threads", number + 1,
                     env=os.environ | change)
            self.assertEqual(again.read_bytes(), self.manifest.read_bytes())

    def test_from_a_server(self):
        handler = type("Handler", (RangeHandler,), {"content": self.packed.read_bytes()})
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/m.nwc?secret=1"
            env = {**os.environ, "no_proxy": "*"}
            env.pop("NWC_CACHE", None)
            self.nwc("manifest", url, "-o", self.path("remote.json"), "-q", env=env)
            self.nwc("verify", "--manifest", self.manifest, url, "-q", env=env)
            server.shutdown()
        self.assertEqual(self.path("remote.json").read_bytes(), self.manifest.read_bytes())

    def test_each_difference_is_named(self):
        first, second, third = self.content["tensors"][:3]
        got = first["sha256"]
        first["sha256"] = hashlib.sha256(b"other").hexdigest()
        shape = second["shape"]
        second["shape"] = [5, 7]
        third_dtype, third["dtype"] = third["dtype"], "F8_E4M3"
        gone = self.content["tensors"].pop()
        self.content["tensors"].append(first | {"name": "unheard.of"})
        self.write()
        self.verify_fails(self.packed, self.manifest, first["name"], first["sha256"], got,
                          "and 4 more")
        self.assertEqual(self.differences(), [
            (first["name"], "sha256", first["sha256"], got),
            (second["name"], "shape", "[5, 7]", "[" + ", ".join(map(str, shape)) + "]"),
            (third["name"], "dtype", "F8_E4M3", third_dtype),
            ("unheard.of", "presence", "a tensor", "none"),
            (gone["name"], "presence", "none", "a tensor")])

    def test_another_pack_of_the_same_weights_is_another_file(self):
        exact = self.pack(self.source, self.path("exact.nwc"), "--profile", "exact")
        raw = self.pack(self.source, self.path("raw.nwc"), "--profile", "raw")
        self.nwc("manifest", raw, "-o", self.manifest, "-q", "--force")
        done = self.verify_fails("file 'raw.nwc': sha256", hashlib.sha256(raw.read_bytes()).hexdigest(), file=exact)
        self.assertNotIn("tensor '", done.stderr)

    def test_a_set_has_an_entry_a_shard(self):
        self.pack(self.source, self.path("set.nwc"), "--profile", "exact", "--shard-size", "20kB")
        index = self.path("set.nwc.index.json")
        shards = sorted(self.folder.glob("set-*.nwc"))
        self.assertGreater(len(shards), 2)
        self.nwc("manifest", index, "-o", self.manifest, "-q", "--force")
        self.content = json.loads(self.manifest.read_text())
        self.assertEqual([(f["name"], f["sha256"]) for f in self.content["files"]],
                         [(s.name, hashlib.sha256(s.read_bytes()).hexdigest()) for s in shards])
        self.nwc("verify", "--manifest", self.manifest, index, "-q")
        one = self.pack(self.source, self.path("one.nwc"), "--profile", "exact")
        done = self.verify_fails(f"the set: files differs: expected {len(shards)}, got 1", file=one)
        self.assertNotIn("tensor '", done.stderr)
        changed = self.content["files"][1]["sha256"] = hashlib.sha256(b"other").hexdigest()
        self.write()
        self.verify_fails(shards[1].name, changed, file=index)

    def test_damage_is_reported_as_such(self):
        self.flip(self.packed, self.packed.stat().st_size // 2)
        done = self.nwc("verify", "--manifest", self.manifest, self.packed, "--json", "-q", expect=1)
        report = json.loads(done.stdout)
        self.assertNotEqual(report["problems"], [])
        self.assertEqual((report["ok"], report["manifest"]["compared"]), (False, False))
        self.nwc("manifest", self.packed, "-o", self.path("none.json"), "-q", expect=1)
        self.assertFalse(self.path("none.json").exists())

    def test_what_is_no_manifest(self):
        good = json.dumps(self.content)
        hash_ = self.content["tensors"][0]["sha256"]
        name = json.dumps(self.content["tensors"][0]["name"])
        other = json.dumps(self.content["tensors"][1]["name"])
        for text, message in (
                ("", "is not JSON"), ("{", "is not JSON"), ("[]", "is not a manifest"), ("{}", "is not a manifest"),
                ("[" * 100_000, "is not JSON"),
                (good.replace('"version": 1', '"version": 2'), "version"),
                (good.replace('"version": 1', f'"version": {"[" * 500_000}{"]" * 500_000}'), "nested too deep"),
                (good.replace('"version": 1', '"version": "1"'), "not a number"),
                (good.replace('"files": [', '"files": [1, '), "files"),
                (good.replace('"bytes"', '"octets"'), "an entry of "),
                (good.replace('"tensors": [', '"tensors": [7, '), "tensor number 0"),
                (good.replace(hash_, hash_[1:]), "SHA-256"),
                (good.replace(hash_, hash_.upper().replace("0", "G")), "SHA-256"),
                (good.replace('"shape": [', '"shape": [-1, ', 1), "shape"),
                (good.replace(other, name), "twice")):
            self.manifest.write_text(text)
            self.verify_fails(self.manifest, message)

    def test_files_and_folders(self):
        before = self.manifest.read_bytes()
        self.nwc("manifest", self.packed, "-o", self.manifest, "-q", expect=2)
        self.assertEqual(self.manifest.read_bytes(), before)
        self.manifest.write_text("old")
        self.nwc("manifest", self.packed, "-o", self.manifest, "-q", "--force")
        self.assertEqual(self.manifest.read_bytes(), before)
        content = self.packed.read_bytes()
        self.nwc("manifest", self.packed, "-o", self.packed, "-q", "--force", expect=2)
        self.assertEqual(self.packed.read_bytes(), content)
        self.nwc("manifest", self.packed, "-o", self.path("no") / "m.json", expect=2)
        self.nwc("manifest", self.path("missing.nwc"), "-o", self.path("x.json"), expect=3)
        self.nwc("verify", "--manifest", self.path("missing.json"), self.packed, expect=3)
        self.assertFalse(self.path("x.json").exists())


if __name__ == "__main__":
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
