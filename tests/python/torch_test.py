#!/usr/bin/env python3
"""The Python package with PyTorch; skipped where that is not installed.

    tests/python/torch_test.py BIN_DIR
"""
import unittest

import numpy as np

import nwc
from package_support import GOLDEN, VALID, PackageCase, main

try:
    import torch

    import nwc.torch
    MISSING = ""
except ImportError as error:
    torch, MISSING = None, f"PyTorch cannot be imported: {error}"

TILES = GOLDEN / "valid" / "many_tiles.nwc"


def bits_of(tensor):
    return tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


@unittest.skipIf(torch is None, MISSING)
class Tensors(PackageCase):
    def test_every_golden_file_equals_what_unpack_gives(self):
        for path in VALID:
            loaded = nwc.load_file(path, framework="pt")
            expected = self.unpacked(path)
            self.assertEqual(set(loaded), set(expected))
            for name, (_, shape, data) in expected.items():
                self.assertEqual(tuple(loaded[name].shape), shape)
                flat = loaded[name].reshape(-1)  # scalars cannot be viewed as bytes
                self.assertEqual(bits_of(flat), data, (path, name))

    def test_dtypes(self):
        loaded = nwc.load_file(GOLDEN / "valid" / "raw_dtypes.nwc", framework="pt")
        for name, dtype in (("BOOL", torch.bool), ("BF16", torch.bfloat16), ("I64", torch.int64),
                            ("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
            self.assertEqual(loaded[f"{name}.weight"].dtype, dtype)

    def test_slices(self):
        with nwc.safe_open(TILES, framework="pt", device="cpu") as file:
            for name in file.keys():
                whole, part = file.get_tensor(name), file.get_slice(name)
                for index in ((slice(3, 9), slice(5, 40)), 7, (..., 3), (slice(2, 2), slice(None))):
                    self.assertEqual(part[index].shape, whole[index].shape)
                    self.assertTrue(torch.equal(part[index], whole[index]))

    def test_memory_belongs_to_the_tensor(self):
        with nwc.safe_open(TILES, framework="pt") as file:
            name = file.keys()[0]
            one, two = file.get_tensor(name), file.get_tensor(name)
        row = one[3].clone()
        view = one[3]
        del one
        two.fill_(0)
        self.assertTrue(torch.equal(view, row))

    def test_other_libraries_take_it_by_dlpack(self):
        with nwc.safe_open(TILES, framework="np") as file:
            array = next(file.get_tensor(n) for n in file.keys()
                         if file.get_slice(n).get_dtype() == "F16")
        self.assertEqual(torch.from_dlpack(array).data_ptr(), array.ctypes.data)

    def test_another_device(self):
        name, tensor = next(nwc.stream(TILES, framework="pt", device="meta"))
        self.assertTrue(tensor.is_meta, name)


@unittest.skipIf(torch is None, MISSING)
class LoadModel(PackageCase):
    def setUp(self):
        super().setUp()
        self.arrays = {f"{i}.{kind}": np.random.default_rng(i).normal(size=shape).astype(np.float32)
                       for i in (0, 2) for kind, shape in (("weight", (8, 8)), ("bias", (8,)))}

    def model(self, device="cpu"):
        with torch.device(device):
            return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))

    def check(self, model):
        for name, parameter in model.named_parameters():
            self.assertTrue(torch.equal(parameter, torch.from_numpy(self.arrays[name])), name)

    def test_every_parameter_is_loaded(self):
        model = self.model()
        weight = model[0].weight
        self.assertEqual(nwc.torch.load_model(model, self.packed(self.arrays)), ([], []))
        self.check(model)
        self.assertIs(model[0].weight, weight)

    def test_assigned_parameters_need_no_copy(self):
        for device in ("cpu", "meta"):
            model = self.model(device)
            nwc.torch.load_model(model, self.packed(self.arrays), assign=device == "cpu")
            self.check(model)
            self.assertTrue(model[0].weight.requires_grad)
            model(torch.zeros(1, 8)).sum().backward()

    def test_parameters_keep_their_dtype(self):
        model = self.model().to(torch.float16)
        nwc.torch.load_model(model, self.packed(self.arrays))
        self.assertEqual(model[0].weight.dtype, torch.float16)

    def test_missing_and_unexpected_names(self):
        del self.arrays["2.bias"]
        self.arrays["more"] = np.zeros(3, np.float32)
        path, model = self.packed(self.arrays), self.model()
        with self.assertRaisesRegex(RuntimeError, r"missing \['2.bias'\], unexpected \['more'\]"):
            nwc.torch.load_model(model, path)
        self.assertEqual(nwc.torch.load_model(model, path, strict=False), (["2.bias"], ["more"]))

    def test_tied_parameters_stay_tied(self):
        for device in ("cpu", "meta"):
            model = self.model(device)
            model[2].weight = model[0].weight
            arrays = {name: a for name, a in self.arrays.items() if name != "2.weight"}
            self.assertEqual(nwc.torch.load_model(model, self.packed(arrays)), ([], []))
            self.assertIs(model[0].weight, model[2].weight)
            self.assertFalse(model[2].weight.is_meta)

    def test_another_shape_is_an_error(self):
        self.arrays["0.bias"] = np.zeros(9, np.float32)
        with self.assertRaisesRegex(RuntimeError, r"0.bias.*\(9,\)"):
            nwc.torch.load_model(self.model(), self.packed(self.arrays))

    def test_buffers_are_loaded_too(self):
        model = torch.nn.BatchNorm1d(4)
        arrays = {name: np.full(4, 3, np.float32)
                  for name in ("weight", "bias", "running_mean", "running_var")}
        arrays["num_batches_tracked"] = np.array(7, np.int64)
        nwc.torch.load_model(model, self.packed(arrays))
        self.assertEqual(int(model.num_batches_tracked), 7)
        self.assertEqual(float(model.running_mean[0]), 3)


if __name__ == "__main__":
    main()
