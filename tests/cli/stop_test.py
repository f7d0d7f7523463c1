#!/usr/bin/env python3
"""Programs that are told to stop while they load: they end soon, with 128 + signal, and leave nothing.

    tests/cli/stop_test.py BIN_DIR

BIN_DIR holds nwc and nwc-pack. Needs numpy.
"""
import http.server
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

from cli_support import CliCase, layers_of

MODES = ("auto", "uring", "direct", "pread", "mmap")


class HangingServer(http.server.ThreadingHTTPServer):
    """Serves ranges of one file; with `hangs` set no byte but those of superblock and index."""
    daemon_threads = True

    def __init__(self, content, index_begin):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.index_begin = content, index_begin
        self.hanging = threading.Event()  # a request has begun to hang
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/m.nwc"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.over.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        body = server.content[first:last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if 0 < first < server.index_begin:
            server.hanging.set()
            server.over.wait(60)
            return
        self.wfile.write(body)


class Stopping(CliCase):
    def setUp(self):
        super().setUp()
        self.packed = self.pack(self.checkpoint(layers_of(self.rng, 4, side=384)), self.path("m.nwc"))
        self.server = HangingServer(self.packed.read_bytes(), self.index_begin())
        self.addCleanup(self.server.close)

    def index_begin(self):
        """Where the payload is over: the superblock says."""
        return int.from_bytes(self.packed.read_bytes()[24:32], "little")

    def assert_stops(self, which, *arguments):
        self.server.hanging.clear()
        process = subprocess.Popen(self.command("nwc", *arguments), stderr=subprocess.PIPE, text=True)
        self.assertTrue(self.server.hanging.wait(30), arguments)
        begun = time.monotonic()
        process.send_signal(which)
        _, errors = process.communicate(timeout=30)
        self.assertLess(time.monotonic() - begun, 5, arguments)
        self.assertEqual(process.returncode, 128 + which, (arguments, errors))
        self.assertIn("stopped by " + signal.Signals(which).name, errors)
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"checkpoint", "m.nwc"}, arguments)

    def test_a_load_that_hangs(self):
        url, out = self.server.url, self.path("out")
        for which in (signal.SIGINT, signal.SIGTERM):
            self.assert_stops(which, "fetch", url, "--tensor", ".", "-o", out, "-q")
            self.assert_stops(which, "unpack", url, "-o", out, "-q")
            self.assert_stops(which, "verify", url, "-q")
            self.assert_stops(which, "verify", "--deep", url, "-q")
            self.assert_stops(which, "bench", url, "-q")


class Reading(CliCase):
    """--io and what is said of it."""

    def setUp(self):
        super().setUp()
        self.packed = self.pack(self.checkpoint(layers_of(self.rng, 2)), self.path("m.nwc"))

    def test_every_mode_gives_the_same_file(self):
        expected = None
        for mode in MODES:
            out = self.path(mode)
            done = self.nwc("fetch", self.packed, "--tensor", ".", "-o", out, "--io", mode,
                            "--verbose", "-q")
            self.assertIn(f"{self.packed}: reads by ", done.stderr)
            expected = expected or out.read_bytes()
            self.assertEqual(out.read_bytes(), expected, mode)
            self.nwc("verify", "--deep", self.packed, "--io", mode, "-q")

    def test_reports_say_how_it_was_read(self):
        for number, command in enumerate((("fetch", self.packed, "--layers", "0", "-o"),
                                          ("unpack", self.packed, "-o"), ("verify", self.packed))):
            output = (self.path(f"out{number}"),) if command[-1] == "-o" else ()
            report = self.nwc_json(*command, *output, "--io", "pread")
            self.assertEqual(report["io"], "pread: asked for", command)
        report = self.nwc_json("bench", self.packed, "--runs", "1", "--io", "mmap")
        self.assertEqual(report["io"], "mmap: asked for")
        self.assertEqual(report["load_hot"]["io"], "mmap: asked for")

    def test_unknown_modes_and_modes_without_a_file(self):
        self.nwc("verify", self.packed, "--io", "fast", expect=2)
        server = HangingServer(self.packed.read_bytes(), 0)
        self.addCleanup(server.close)
        done = self.nwc("verify", server.url, "--io", "direct", expect=2)
        self.assertIn("expected a file", done.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
