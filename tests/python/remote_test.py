#!/usr/bin/env python3
"""The Python package over HTTP, from a server on this machine.

    tests/python/remote_test.py BIN_DIR
"""
import sys
import threading
import time

import numpy as np

import nwc
from package_support import TESTS, PackageCase, main

sys.path.insert(0, str(TESTS / "support"))
from range_server import RangeServer  # noqa: E402

LAYERS = 6
HEAD = 256 << 10  # bytes that opening reads, and the index
CONTAINER = []  # one, for all tests


class Remote(PackageCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(7)
        self.arrays = {f"layers.{i}.weight": rng.standard_normal((512, 512)).astype(np.float32)
                       for i in range(LAYERS)}
        if not CONTAINER:
            CONTAINER.append(self.packed(self.arrays, profile="raw").read_bytes())
        self.content = CONTAINER[0]
        self.server = RangeServer({"m.nwc": self.content})
        self.addCleanup(self.server.close)
        self.url = self.server.url("m.nwc")

    def check(self, loaded, names=None):
        self.assertEqual(set(loaded), set(names or self.arrays))
        for name, array in loaded.items():
            np.testing.assert_array_equal(array, self.arrays[name])

    def test_load_file(self):
        self.check(nwc.load_file(self.url, framework="np", verify_decoded=True))

    def test_one_tensor_reads_its_bytes_only(self):
        with nwc.safe_open(self.url, framework="np") as file:
            self.assertEqual(file.keys(), list(self.arrays))
            self.check({"layers.4.weight": file.get_tensor("layers.4.weight")}, ["layers.4.weight"])
        self.assertLess(self.server.bytes_served(), 2 * HEAD + 512 * 512 * 4)

    def test_a_slice_is_part_of_the_tensor(self):
        with nwc.safe_open(self.url, framework="np") as file:
            part = file.get_slice("layers.5.weight")[3:9, 100:]
        np.testing.assert_array_equal(part, self.arrays["layers.5.weight"][3:9, 100:])

    def test_stream_of_layers_reads_those_only(self):
        self.check(dict(nwc.stream(self.url, layers=range(3, 5), framework="np")),
                   ["layers.3.weight", "layers.4.weight"])
        self.assertLess(self.server.bytes_served(), 2 * HEAD + 2 * 512 * 512 * 4)

    def test_pytorch_gets_the_same(self):
        try:
            import torch
        except ImportError:
            self.skipTest("PyTorch is not installed")
        for name, tensor in nwc.stream(self.url, names=["layers.2.weight"], framework="pt"):
            self.assertTrue(torch.equal(tensor, torch.from_numpy(self.arrays[name])))

    def test_a_set(self):
        self.packed(self.arrays, "--shard-size", "2MB", profile="raw")
        for path in self.folder.glob("*.nwc*"):
            self.server.files[path.name] = path.read_bytes()
        first = min(n for n in self.server.files if "-of-" in n)
        for name in ("m.nwc.index.json", first):
            self.check(nwc.load_file(self.server.url(name), framework="np"))

    def test_a_cache_serves_the_second_load(self):
        options = {"framework": "np", "cache_folder": self.folder / "cache", "cache_bytes": 1 << 30}
        nwc.load_file(self.url, **options)
        self.server.forget()
        self.check(nwc.load_file(self.url, **options))
        self.assertLess(self.server.bytes_served(), 2 * HEAD)

    def test_headers_reach_the_server(self):
        nwc.load_file(self.url, framework="np", headers=["Authorization: Bearer abc"])
        self.assertEqual({h.get("Authorization") for h in self.server.headers_seen}, {"Bearer abc"})

    def test_answers_that_break_off_are_asked_for_again(self):
        self.server.cut = 3
        self.check(nwc.load_file(self.url, framework="np"))

    def test_without_retries_a_fault_is_an_error(self):
        self.server.cut = 1
        with self.assertRaises(nwc.NwcError) as caught:
            nwc.load_file(self.url, framework="np", retries=0)
        self.assertEqual(caught.exception.code, "I/O error")

    def test_a_server_that_stalls_is_given_up(self):
        self.server.hang(0)
        begun = time.monotonic()
        with self.assertRaisesRegex(nwc.NwcError, "bytes"):
            nwc.load_file(self.url, framework="np", retries=0, stall_timeout_s=1)
        self.assertLess(time.monotonic() - begun, 10)

    def test_requests_at_once(self):
        now, most, lock = [0], [0], threading.Lock()
        lets_through = self.server.lets_through

        def counting(size):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.02)
            with lock:
                now[0] -= 1
            return lets_through(size)

        self.server.lets_through = counting
        self.check(nwc.load_file(self.url, framework="np", parallel_ranges=1))
        self.assertEqual(most[0], 1)

    def test_impossible_options(self):
        for options in ({"connect_timeout_ms": -1}, {"stall_timeout_s": -1}, {"parallel_ranges": -1},
                        {"headers": ["A: b\r\nC: d"]}):
            with self.assertRaises(ValueError, msg=options):
                nwc.load_file(self.url, **options)

    def test_what_is_not_there(self):
        with self.assertRaisesRegex(FileNotFoundError, "404"):
            nwc.safe_open(self.server.url("none.nwc"))
        with self.assertRaisesRegex(KeyError, "did you mean"):
            nwc.stream(self.url, names=["layers.1.weigth"])

    def test_secrets_stay_out_of_messages(self):
        url = self.server.url("none.nwc").replace("http://", "http://user:word@") + "?signature=abc"
        with self.assertRaises(FileNotFoundError) as caught:
            nwc.safe_open(url)
        for secret in ("word", "abc"):
            self.assertNotIn(secret, str(caught.exception))

    def test_damage_names_the_tensor(self):
        bad = bytearray(self.content)
        bad[len(bad) // 2] ^= 1
        self.server.files["m.nwc"] = bytes(bad)
        with self.assertRaises(nwc.CorruptFileError) as caught:
            nwc.load_file(self.url, framework="np")
        self.assertRegex(caught.exception.tensor, r"layers\.[23]\.weight")

    def test_a_file_that_is_replaced_is_never_mixed(self):
        with nwc.safe_open(self.url, framework="np") as file:
            self.server.tags["m.nwc"] = '"two"'
            with self.assertRaisesRegex(nwc.NwcError, "replaced"):
                file.get_tensor("layers.5.weight")


if __name__ == "__main__":
    main()
