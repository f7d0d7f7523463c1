#!/usr/bin/env python3
"""Who owns decoded memory, that nothing is copied, that the GIL is free, and how long the import takes.

    tests/python/memory_test.py BIN_DIR
"""
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import numpy as np

import nwc
from package_support import PackageCase, main


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memory(PackageCase):
    MEGABYTES = 32

    def layers(self, count=1):
        """Exact tensors of 32 MB each."""
        shape = (self.MEGABYTES << 8, 1024)
        return self.packed({f"layers.{i}.w": np.full(shape, i + 0.5, np.float32)
                            for i in range(count)})

    def test_tensors_outlive_their_reader(self):
        path = self.layers(2)
        with nwc.safe_open(path, "np") as file:
            first = file.get_tensor("layers.0.w")
        del file
        rows = first[5:9]
        del first
        gc.collect()
        others = nwc.load_file(path)  # would use the memory again, were it free
        self.assertTrue((rows == 0.5).all())
        self.assertTrue((others["layers.1.w"] == 1.5).all())

    def test_tensors_may_be_written_to_and_are_each_their_own(self):
        path = self.layers()
        with nwc.safe_open(path, "np") as file:
            one, two = file.get_tensor("layers.0.w"), file.get_tensor("layers.0.w")
        one[:] = 7
        self.assertTrue((two == 0.5).all())
        self.assertEqual(two.ctypes.data % 64, 0)

    def test_memory_is_decoded_once_and_freed_with_the_array(self):
        path, size = self.layers(), self.MEGABYTES << 20
        with nwc.safe_open(path, "np") as file:
            file.get_slice("layers.0.w")[0:8]  # threads and buffers are there
            before = resident_bytes()
            array = file.get_tensor("layers.0.w")
            self.assertLess(resident_bytes() - before, 1.5 * size)
            del array
            self.assertLess(resident_bytes() - before, 0.5 * size)

    def test_a_stream_holds_few_tensors(self):
        path, size = self.layers(12), self.MEGABYTES << 20
        before, peak = resident_bytes(), 0
        for _, array in nwc.stream(path):
            peak = max(peak, resident_bytes())
            del array
        self.assertLess(peak - before, 9 * size)

    def test_other_threads_run_while_tensors_are_decoded(self):
        path, stop = self.layers(4), threading.Event()
        longest = 0.0

        def watch():
            nonlocal longest
            last = time.perf_counter()
            while not stop.is_set():
                time.sleep(0.001)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now

        thread = threading.Thread(target=watch)
        thread.start()
        begun = time.perf_counter()
        with nwc.safe_open(path, "np", threads=1) as file:
            for name in file.keys():
                file.get_tensor(name)
        spent = time.perf_counter() - begun
        stop.set()
        thread.join()
        # Held for a whole tensor, it would be a quarter.
        self.assertLess(longest, max(0.1, spent / 5), spent)

    def test_control_c_ends_a_load(self):
        path = self.layers(8)
        code = (f"import nwc, time\nprint('go', flush=True)\n"
                f"while True: nwc.load_file({str(path)!r})\n")
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        self.assertIn("KeyboardInterrupt", errors)


class Import(unittest.TestCase):
    def run_python(self, code):
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                              text=True).stdout.strip()

    def test_nothing_heavy_is_imported(self):
        loaded = self.run_python("import sys, nwc; print(*sys.modules)").split()
        for name in ("torch", "numpy", "transformers", "tqdm", "ml_dtypes"):
            self.assertNotIn(name, loaded)

    def test_import_takes_less_than_100_ms(self):
        code = ("import time; t = time.perf_counter(); import nwc; "
                "print(time.perf_counter() - t)")
        fastest = min(float(self.run_python(code)) for _ in range(5))
        self.assertLess(fastest, 0.1)


if __name__ == "__main__":
    main()
