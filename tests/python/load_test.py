#!/usr/bin/env python3
"""The Python package with NumPy: tensors, slices, streams, errors.

    tests/python/load_test.py BIN_DIR
"""
import concurrent.futures
import itertools
import os
import pathlib

import numpy as np

import nwc
from package_support import GOLDEN, VALID, PackageCase, main

TILES = GOLDEN / "valid" / "many_tiles.nwc"
LAYERS = GOLDEN / "valid" / "neural_shapes.nwc"


def bits_of(array):
    return np.ascontiguousarray(array).view(np.uint8).tobytes() if array.size else b""


class Tensors(PackageCase):
    def test_every_golden_file_equals_what_unpack_gives(self):
        for path in VALID:
            expected = self.unpacked(path)
            loaded = nwc.load_file(path, framework="np", verify_decoded=True)
            self.assertEqual(set(loaded), set(expected), path)
            with nwc.safe_open(path, framework="np") as file:
                for name, (dtype, shape, data) in expected.items():
                    self.assertEqual(loaded[name].shape, shape, (path, name))
                    self.assertEqual(bits_of(loaded[name]), data, (path, name))
                    self.assertEqual(file.get_slice(name).get_dtype(), dtype)
                    self.assertEqual(file.get_slice(name).get_shape(), list(shape))
                    self.assertEqual(bits_of(file.get_tensor(name)), data, (path, name))

    def test_numpy_dtypes(self):
        loaded = nwc.load_file(GOLDEN / "valid" / "raw_dtypes.nwc")
        for name, dtype in (("BOOL", "bool"), ("U8", "uint8"), ("I64", "int64"), ("F64", "float64"),
                            ("F16", "float16"), ("U32", "uint32")):
            self.assertEqual(loaded[f"{name}.weight"].dtype, dtype)

    def test_bfloat16_is_a_number_with_ml_dtypes_and_bits_without(self):
        array = nwc.load_file(TILES)["BF16.8x32"]
        try:
            import ml_dtypes
            self.assertEqual(array.dtype, ml_dtypes.bfloat16)
        except ImportError:
            self.assertEqual(array.dtype, np.uint16)

    def test_keys_are_in_file_order(self):
        with nwc.safe_open(TILES, "np") as file:
            self.assertEqual(file.keys(), list(nwc.load_file(TILES)))
            self.assertIn(file.keys()[0], file)
            self.assertNotIn("nothing", file)

    def test_metadata_and_files(self):
        with nwc.safe_open(GOLDEN / "valid" / "files_and_shards.nwc", "np") as file:
            self.assertEqual(file.metadata(), {"format": "pt"})
            names = file.file_names()
            self.assertTrue(names)
            for name in names:
                self.assertIsInstance(file.read_file(name), bytes)
            with self.assertRaisesRegex(KeyError, names[0]):
                file.read_file("nothing")

    def test_profile_and_bits(self):
        with nwc.safe_open(TILES, "np") as file:
            name = file.keys()[0]
            self.assertIn(file.get_profile(name), ("raw", "exact", "stream", "nwc"))
            self.assertGreater(file.get_bits(name), 0)


class Slices(PackageCase):
    ROWS = [slice(None), slice(3, 9), slice(5, None, 3), slice(-4, None), slice(2, 2), 0, -1,
            slice(100, 200)]
    COLUMNS = [slice(None), slice(1, 33), slice(None, None, 7), slice(-2, None), 5, slice(7, 3)]

    def check(self, file, name, indexes):
        whole = file.get_tensor(name)
        for index in indexes:
            part, expected = file.get_slice(name)[index], whole[index]
            self.assertEqual(part.shape, expected.shape, (name, index))
            self.assertEqual(part.dtype, expected.dtype)
            self.assertEqual(bits_of(part), bits_of(expected), (name, index))

    def test_slices_of_matrices(self):
        with nwc.safe_open(TILES, "np") as file:
            for name in file.keys():
                self.check(file, name, [*self.ROWS, ..., *itertools.product(self.ROWS, self.COLUMNS),
                                        (..., slice(2, 4)), (slice(2, 4), ...)])

    def test_slices_of_every_golden_tensor(self):
        for path in VALID:
            with nwc.safe_open(path, "np") as file:
                for name in file.keys():
                    shape = file.get_slice(name).get_shape()
                    ranges = [[slice(None), slice(size // 3, size), slice(0, size // 2)]
                              for size in shape]
                    self.check(file, name, itertools.islice(itertools.product(*ranges), 40))

    def test_impossible_indexes(self):
        with nwc.safe_open(TILES, "np") as file:
            part = file.get_slice(file.keys()[0])
            for index, error in (((0, 0, 0), IndexError), (1000, IndexError), (-1000, IndexError),
                                 ((..., ...), IndexError), (slice(None, None, -1), ValueError),
                                 ("a", TypeError), (1.5, TypeError)):
                with self.assertRaises(error):
                    part[index]


class Streams(PackageCase):
    def test_all_come_in_file_order(self):
        with nwc.safe_open(TILES, "np") as file:
            self.assertEqual([name for name, _ in nwc.stream(TILES)], file.keys())

    def test_names_come_in_the_order_asked_for(self):
        names = list(nwc.load_file(TILES))[::-2]
        self.assertEqual([name for name, _ in nwc.stream(TILES, names=names)], names)

    def test_layers_select(self):
        path = self.packed_layers()
        for layers, expected in ((1, [1]), (range(2), [0, 1]), ([0], [0])):
            names = [name for name, _ in nwc.stream(path, layers=layers)]
            self.assertEqual(sorted(set(names)), sorted(n for n in names
                                                        if int(n.split(".")[1]) in expected))
            self.assertEqual({int(n.split(".")[1]) for n in names}, set(expected))
        names = [name for name, _ in nwc.stream(path, layers=0, names=["layers.1.a.weight"])]
        self.assertEqual(names, ["layers.0.a.weight", "layers.0.b.weight", "layers.1.a.weight"])
        with self.assertRaisesRegex(ValueError, "0 to 1"):
            nwc.stream(path, layers=7)

    def packed_layers(self):
        names = [f"layers.{i}.{c}.weight" for i in range(2) for c in "ab"]
        return self.packed({name: np.ones((8, 8), np.float32) for name in names})

    def test_an_unknown_name_is_found_before_anything_is_loaded(self):
        with self.assertRaisesRegex(KeyError, "did you mean"):
            nwc.stream(TILES, names=["BF16.8x3"])
        with self.assertRaises(ValueError):
            nwc.stream(TILES, names="BF16.8x32")
        with self.assertRaisesRegex(ValueError, "asked for twice"):
            list(nwc.stream(TILES, names=["BF16.8x32"] * 2))

    def test_leaving_the_loop_ends_the_load(self):
        for _ in range(20):
            for _ in nwc.stream(TILES):
                break

    def test_progress_counts_every_byte(self):
        try:
            import tqdm
        except ImportError:
            with self.assertRaisesRegex(ImportError, "tqdm"):
                nwc.load_file(TILES, progress=True)
            return
        del tqdm
        import contextlib
        import io
        with contextlib.redirect_stderr(io.StringIO()) as shown:
            nwc.load_file(TILES, progress=True)
        self.assertIn("100%", shown.getvalue())
        self.assertIn("many_tiles.nwc", shown.getvalue())


class Errors(PackageCase):
    def test_a_missing_file_is_file_not_found(self):
        with self.assertRaisesRegex(FileNotFoundError, "/nowhere/m.nwc"):
            nwc.safe_open("/nowhere/m.nwc", "np")

    def test_an_unknown_tensor_is_a_key_error(self):
        with nwc.safe_open(TILES, "np") as file:
            for name in ("BF16.8x3", "", "a\0b", "\udcff"):
                with self.assertRaises(KeyError):
                    file.get_tensor(name)
                with self.assertRaises(KeyError):
                    file.get_slice(name)

    def test_damage_names_tensor_and_chunk(self):
        for rule, tensor, chunk in (("R20_raw", "w", 1), ("R21_side", "s", None)):
            path = GOLDEN / "invalid" / f"{rule}.nwc"
            with self.assertRaises(nwc.CorruptFileError) as caught:
                nwc.load_file(path)
            self.assertEqual(caught.exception.rule, int(rule[1:3]))
            self.assertEqual((caught.exception.tensor, caught.exception.chunk), (tensor, chunk))
            self.assertIn(f"tensor '{tensor}'", str(caught.exception))
            with nwc.safe_open(path, "np") as file, self.assertRaises(nwc.CorruptFileError):
                file.get_tensor(tensor)

    def test_every_invalid_file_is_refused(self):
        for path in sorted((GOLDEN / "invalid").glob("*.nwc")):
            if path.name.startswith("R31"):  # bytes that nobody reads: `nwc verify` looks at them
                continue
            with self.assertRaises(nwc.NwcError, msg=path.name) as caught:
                with nwc.safe_open(path, "np", verify_decoded=True) as file:
                    for name in file.file_names():
                        file.read_file(name)
                nwc.load_file(path, verify_decoded=True)
            if isinstance(caught.exception, nwc.CorruptFileError):
                self.assertEqual(caught.exception.rule, int(path.name[1:3]))

    def test_every_bit_of_the_payload_is_guarded(self):
        content = TILES.read_bytes()
        index_begin = int.from_bytes(content[24:32], "little")
        for at in range(4096, index_begin, index_begin // 50):
            try:
                nwc.load_file(self.damaged(TILES, at))
            except nwc.CorruptFileError as error:
                self.assertTrue(error.tensor, error)
            # else: a gap between two payloads

    def test_tensors_before_the_damage_come_first(self):
        path = GOLDEN / "invalid" / "R20_raw.nwc"
        with self.assertRaises(nwc.CorruptFileError):
            for name, _ in nwc.stream(path):
                self.assertNotEqual(name, "w")

    def test_an_unsupported_tensor_says_update(self):
        path = GOLDEN / "valid" / "unknown_profile.nwc"
        with self.assertRaisesRegex(nwc.NwcError, "update nwc") as caught:
            nwc.load_file(path)
        self.assertEqual(caught.exception.code, "unsupported")

    def test_impossible_arguments(self):
        for arguments in ({"framework": "tf"}, {"framework": "np", "device": "cuda"},
                          {"io": "fast"}, {"threads": -1}):
            with self.assertRaises(ValueError):
                nwc.safe_open(TILES, **arguments)
        with self.assertRaisesRegex(ValueError, "null byte"):
            nwc.safe_open(f"{TILES}\0x", "np")
        with self.assertRaises(TypeError):
            nwc.safe_open(TILES, "np", speed=11)

    def test_a_closed_file_says_so(self):
        with nwc.safe_open(TILES, "np") as file:
            part = file.get_slice(file.keys()[0])
        for use in (lambda: file.get_tensor("BF16.8x32"), lambda: part[0:1], file.metadata):
            with self.assertRaisesRegex(ValueError, "closed"):
                use()


class Options(PackageCase):
    def test_ways_of_reading_and_threads(self):
        expected = {name: bits_of(array) for name, array in nwc.load_file(TILES).items()}
        for options in ({"io": "pread"}, {"io": "mmap", "threads": 1}, {"threads": 3},
                        {"check_hashes": False}, {"staging_bytes": 1 << 20},
                        {"headers": ["A: b"], "cache_folder": self.folder}):
            loaded = nwc.load_file(pathlib.Path(TILES), **options)
            self.assertEqual({n: bits_of(a) for n, a in loaded.items()}, expected, options)

    def test_names_of_files_may_be_any_bytes(self):
        odd = os.fsdecode(os.fsencode(self.folder) + b"/\xff \xc3\xa9.nwc")
        pathlib.Path(odd).write_bytes(TILES.read_bytes())
        self.assertTrue(nwc.load_file(odd))
        with self.assertRaises(FileNotFoundError):
            nwc.load_file(odd + "x")


class Threads(PackageCase):
    def test_one_reader_serves_many_threads(self):
        expected = {name: bits_of(array) for name, array in nwc.load_file(TILES).items()}
        with nwc.safe_open(TILES, "np") as file, concurrent.futures.ThreadPoolExecutor(8) as pool:
            names = list(expected) * 10
            for name, array in zip(names, pool.map(file.get_tensor, names)):
                self.assertEqual(bits_of(array), expected[name])

    def test_closing_while_others_load_is_safe(self):
        for _ in range(10):
            file = nwc.safe_open(TILES, "np")
            names = file.keys() * 5

            def load(name):
                try:
                    file.get_tensor(name)
                except ValueError:
                    pass

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                results = [pool.submit(load, name) for name in names]
                file.close()
                for result in results:
                    result.result()


if __name__ == "__main__":
    main()
