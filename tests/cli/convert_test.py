#!/usr/bin/env python3
"""PyTorch files and GGUF files: packed, and unpacked again.

    tests/cli/convert_test.py BIN_DIR

BIN_DIR holds nwc and nwc-pack. Pickles are made by Python's own pickle with stand-ins for the classes
of torch. Needs numpy.
"""
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import types
import unittest
import zipfile

import numpy as np

from cli_support import CliCase, encode, every_dtype, layers_of, read_safetensors

STORAGES = {"F32": "Float", "F16": "Half", "BF16": "BFloat16", "F64": "Double", "I64": "Long", "I32": "Int",
            "I16": "Short", "I8": "Char", "U8": "Byte", "BOOL": "Bool"}
UNTYPED = {"U16": "uint16", "U32": "uint32", "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
GGUF_TYPES = {"F32": 0, "F16": 1, "I8": 24, "I16": 25, "I32": 26, "I64": 27, "F64": 28, "BF16": 30}
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1, "I16": 2, "I32": 4, "I64": 8, "F64": 8}


class Named:
    """Pickles by reference to module and name, as classes and functions do."""

    def __init__(self, module, name):
        self.__module__, self.__qualname__, self.__name__ = module, name, name
        parent = sys.modules.setdefault(module, types.ModuleType(module))
        setattr(parent, name, self)

    def __reduce__(self):
        return self.__name__

    def __call__(self):
        raise NotImplementedError


REBUILD = Named("torch._utils", "_rebuild_tensor_v2")
REBUILD_UNTYPED = Named("torch._utils", "_rebuild_tensor_v3")
PARAMETER = Named("torch._utils", "_rebuild_parameter")
TYPES = {dtype: Named("torch", name + "Storage") for dtype, name in STORAGES.items()}
DTYPES = {dtype: Named("torch", name) for dtype, name in UNTYPED.items()}
BYTES = Named("torch.storage", "UntypedStorage")


class Storage:
    def __init__(self, dtype, data, size):
        self.type, self.data = TYPES.get(dtype, BYTES), data
        self.elements = len(data) if self.type is BYTES else len(data) // size


class Tensor:
    """A view of a storage; strides as torch has them without `transposed`."""

    def __init__(self, dtype, shape, data, transposed=False, parameter=False):
        size = len(data) // max(1, int(np.prod(shape))) or 1
        self.dtype, self.shape, self.parameter = dtype, tuple(shape), parameter
        stored = np.frombuffer(data, f"V{size}").reshape(shape) if data else None
        self.storage = Storage(dtype, stored.T.tobytes() if transposed else data, size)
        sides = self.shape[::-1] if transposed else self.shape
        strides = [int(np.prod(sides[d + 1:], dtype=np.int64)) for d in range(len(sides))]
        self.strides = tuple(strides[::-1] if transposed else strides)

    def __reduce__(self):
        view = [self.storage, 0, self.shape, self.strides, False, collections.OrderedDict()]
        if self.dtype in DTYPES:
            return REBUILD_UNTYPED, (*view, DTYPES[self.dtype])
        if not self.parameter:
            return REBUILD, tuple(view)
        return PARAMETER, (Tensor.plain(self), True, collections.OrderedDict())

    @staticmethod
    def plain(tensor):
        copy = object.__new__(Tensor)
        copy.__dict__ = {**tensor.__dict__, "parameter": False}
        return copy


def torch_save(path, value, protocol=2):
    storages = {}

    class Pickler(pickle._Pickler):  # the one in C insists on real functions
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            key = storages.setdefault(id(item), (str(len(storages)), item))[0]
            return "storage", item.type, key, "cpu", item.elements

        def save_reduce(self, func, args, *rest, obj=None, **options):
            if not isinstance(func, Named):
                return super().save_reduce(func, args, *rest, obj=obj, **options)
            self.save(func)
            self.save(args)
            self.write(pickle.REDUCE)
            return self.memoize(obj)

    text = io.BytesIO()
    Pickler(text, protocol).dump(value)
    stem = pathlib.Path(path).stem
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{stem}/data.pkl", text.getvalue())
        archive.writestr(f"{stem}/byteorder", "little")
        for key, storage in storages.values():
            archive.writestr(f"{stem}/data/{key}", storage.data)
        archive.writestr(f"{stem}/version", "3\n")


def gguf_text(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def write_gguf(path, tensors, words=("a", "ü", "")):
    """`tensors` as for write_safetensors; metadata with a name and an array of words."""
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 2) + gguf_text("general.name")
    header += struct.pack("<I", 8) + gguf_text("test") + gguf_text("words") + struct.pack("<IIQ", 9, 8, len(words))
    header += b"".join(map(gguf_text, words))
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header += gguf_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        header += struct.pack("<IQ", GGUF_TYPES.get(dtype, dtype), len(data))
        data += content + b"\0" * (-len(content) % 32)
    pathlib.Path(path).write_bytes(header + b"\0" * (-len(header) % 32) + data)


def read_gguf(path):
    """(tensors as write_safetensors takes them, metadata) of a file with strings and one u32 as metadata."""
    file = io.BytesIO(pathlib.Path(path).read_bytes())

    def take(form):
        return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))

    def text():
        return file.read(take("Q")[0]).decode()

    magic, version, count, entries = take("4sIQQ")
    assert (magic, version) == (b"GGUF", 3)
    metadata = {}
    for _ in range(entries):
        key, kind = text(), take("I")[0]
        metadata[key] = text() if kind == 8 else take("I")[0]
    infos = []
    for _ in range(count):
        name, (dimensions,) = text(), take("I")
        infos.append((name, list(take(f"{dimensions}Q"))[::-1], *take("IQ")))
    begin = -(-file.tell() // 32) * 32
    dtypes = {number: dtype for dtype, number in GGUF_TYPES.items()}
    tensors = {}
    for name, shape, kind, offset in infos:
        file.seek(begin + offset)
        dtype = dtypes[kind]
        tensors[name] = (dtype, shape, file.read(int(np.prod(shape)) * SIZES[dtype]))
    return tensors, metadata


class PyTorch(CliCase):
    def unpacked(self, source, name="out"):
        packed = self.pack(source, self.path(f"{name}.nwc"), "--profile", "exact")
        self.nwc("verify", packed, "--deep")
        self.nwc("unpack", packed, "-o", self.path(name))
        return self.path(name)

    def test_every_dtype_comes_back_in_safetensors(self):
        tensors = every_dtype(self.rng) | layers_of(self.rng, 1)
        for protocol in (2, 3, 4, 5):
            source = self.path(f"p{protocol}")
            source.mkdir()
            (source / "config.json").write_text('{"model_type": "none"}')
            torch_save(source / "pytorch_model.bin", {n: Tensor(*t) for n, t in tensors.items()}, protocol)
            out = self.unpacked(source, f"out{protocol}")
            self.assertEqual(sorted(p.name for p in out.iterdir()), ["config.json", "model.safetensors"])
            self.assertEqual(read_safetensors(out / "model.safetensors"), (tensors, {"format": "pt"}))
            self.assertTrue(self.nwc_json("diff", source, out)["identical"])

    def test_transposed_weights_and_parameters(self):
        tensors = layers_of(self.rng, 1)
        state = collections.OrderedDict()
        for i, (name, tensor) in enumerate(tensors.items()):
            state[name] = Tensor(*tensor, transposed=i % 2 == 0, parameter=i % 3 == 0)
        state._metadata = collections.OrderedDict({"": {"version": 1}})
        torch_save(self.path("w.pt"), state)
        out = self.unpacked(self.path("w.pt"))
        self.assertEqual(read_safetensors(out / "w.safetensors")[0], tensors)

    def test_shards_come_back_with_an_index(self):
        tensors = layers_of(self.rng, 2)
        source, weight_map = self.path("source"), {}
        source.mkdir()
        for shard in range(2):
            file = f"pytorch_model-0000{shard + 1}-of-00002.bin"
            part = dict(list(tensors.items())[shard::2])
            torch_save(source / file, {n: Tensor(*t) for n, t in part.items()})
            weight_map |= dict.fromkeys(part, file)
        (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
        out = self.unpacked(source)
        index = json.loads((out / "model.safetensors.index.json").read_text())
        self.assertEqual(index["metadata"]["total_size"], sum(len(t[2]) for t in tensors.values()))
        self.assertEqual(set(index["weight_map"]), set(tensors))
        found = {}
        for file in set(index["weight_map"].values()):
            found |= read_safetensors(out / file)[0]
        self.assertEqual(found, tensors)
        again = self.unpacked(out, "again")
        self.assert_same_folder(out, again)

    def test_a_pickle_that_would_run_code_is_refused(self):
        trap = self.path("trap")

        class Evil:
            def __reduce__(self):
                return os.system, (f"touch {trap}",)

        for protocol in (2, 4):
            torch_save(self.path("evil.bin"), {"w": Evil()}, protocol)
            done = self.run_program("nwc-pack", self.path("evil.bin"), "-o", self.path("m.nwc"), expect=1)
            self.assertIn("asks for 'posix.system'", done.stderr)
            self.assertIn("would run code", done.stderr)
        self.assertFalse(trap.exists() or self.path("m.nwc").exists())

    def test_safetensors_are_preferred_and_it_says_so(self):
        source = self.checkpoint(layers_of(self.rng, 1))
        (source / "pytorch_model.bin").write_bytes(b"no zip")
        done = self.run_program("nwc-pack", source, "-o", self.path("m.nwc"))
        self.assertIn("holds PyTorch files, too", done.stderr)
        self.assertEqual(self.run_program("nwc-pack", source, "-o", self.path("q.nwc"), "-q").stderr, "")


class Gguf(CliCase):
    def tensors(self):
        tensors = {"token_embd.weight": ("F16", [128, 96], encode("F16", self.rng.standard_normal(128 * 96)))}
        for layer in range(2):
            for part, dtype in (("attn_q", "F32"), ("ffn_down", "BF16"), ("ffn_up", "F16")):
                values = self.rng.standard_normal(96 * 96) * 0.05
                tensors[f"blk.{layer}.{part}.weight"] = (dtype, [96, 96], encode(dtype, values))
            tensors[f"blk.{layer}.attn_norm.weight"] = ("F32", [5], bytes(20))
        tensors["ids"] = ("I32", [3], bytes(range(12)))
        return tensors

    def test_comes_back_byte_for_byte(self):
        for name, options in (("one", ()), ("set", ("--shard-size", 40_000))):
            write_gguf(self.path(f"{name}.gguf"), self.tensors())
            packed = self.pack(self.path(f"{name}.gguf"), self.path(f"{name}.nwc"), "--profile", "exact", *options)
            model = self.path(f"{name}.nwc.index.json") if options else packed
            self.nwc("unpack", model, "--format", "gguf", "-o", self.path(name))
            self.assertEqual([p.name for p in self.path(name).iterdir()], [f"{name}.gguf"])
            self.assertEqual((self.path(name) / f"{name}.gguf").read_bytes(),
                             self.path(f"{name}.gguf").read_bytes())

    def test_goes_through_safetensors(self):
        tensors = self.tensors()
        write_gguf(self.path("m.gguf"), tensors)
        packed = self.pack(self.path("m.gguf"), self.path("m.nwc"), "--profile", "exact")
        self.nwc("unpack", packed, "-o", self.path("out"))
        found, _ = read_safetensors(self.path("out") / "m.safetensors")
        self.assertEqual(found, tensors)
        self.pack(self.path("out"), self.path("again.nwc"), "--profile", "exact")
        self.nwc("unpack", self.path("again.nwc"), "--format", "gguf", "-o", self.path("back"))
        self.assertEqual((self.path("back") / "m.gguf").read_bytes(), self.path("m.gguf").read_bytes())

    def test_lossy_weights_keep_the_header(self):
        write_gguf(self.path("m.gguf"), self.tensors())
        packed = self.pack(self.path("m.gguf"), self.path("m.nwc"), "--bits", 4)
        profiles = {t["name"]: t["profile"] for t in self.inspect(packed)["tensors"]}
        self.assertEqual(profiles["token_embd.weight"], "exact")
        self.assertEqual(profiles["blk.1.ffn_up.weight"], "stream")
        self.nwc("unpack", packed, "--format", "gguf", "-o", self.path("out"))
        before, after = self.path("m.gguf").read_bytes(), (self.path("out") / "m.gguf").read_bytes()
        self.assertEqual((len(before), before[:700]), (len(after), after[:700]))
        self.assertEqual(self.nwc_json("diff", packed, self.path("out") / "m.gguf")["identical"], True)
        self.nwc("fetch", packed, "--layers", "1", "-o", self.path("layer.safetensors"))
        self.assertEqual(len(read_safetensors(self.path("layer.safetensors"))[0]), 4)

    def test_safetensors_become_gguf(self):
        tensors = layers_of(self.rng, 2)
        source = self.sharded_checkpoint(tensors)
        (source / "config.json").write_text('{"model_type": "llama"}')
        packed = self.pack(source, self.path("name.nwc"), "--profile", "exact")
        self.nwc("unpack", packed, "--format", "gguf", "-o", self.path("out"))
        self.assertEqual(sorted(p.name for p in self.path("out").iterdir()),
                         ["LICENSE", "config.json", "empty.txt", "model.gguf"])
        found, metadata = read_gguf(self.path("out") / "model.gguf")
        self.assertEqual(found, tensors)
        self.assertEqual(metadata, {"general.architecture": "llama", "general.name": "name",
                                    "general.alignment": 32})

    def test_what_gguf_cannot_hold_is_named(self):
        source = self.checkpoint({"mask": ("BOOL", [1], b"\1")})
        packed = self.pack(source, self.path("m.nwc"), "--profile", "exact")
        message = self.nwc("unpack", packed, "--format", "gguf", "-o", self.path("out"), expect=1).stderr
        self.assertIn("tensor 'mask': GGUF has no dtype BOOL", message)
        self.nwc("unpack", packed, "--format", "onnx", "-o", self.path("out"), expect=2)
        self.assertFalse(self.path("out").exists())

    def test_a_part_of_the_tensors_is_no_gguf(self):
        write_gguf(self.path("m.gguf"), self.tensors())
        packed = self.pack(self.path("m.gguf"), self.path("m.nwc"), "--include", "blk")
        message = self.nwc("unpack", packed, "--format", "gguf", "-o", self.path("out"), expect=2).stderr
        self.assertIn("tensor 'token_embd.weight' was not packed", message)
        self.nwc("unpack", packed, "-o", self.path("out"))

    def test_quantised_files_are_refused(self):
        write_gguf(self.path("q.gguf"), {"blk.0.w": (12, [256], bytes(144))})
        done = self.run_program("nwc-pack", self.path("q.gguf"), "-o", self.path("q.nwc"), expect=1)
        self.assertIn("tensor 'blk.0.w': is of type Q4_K", done.stderr)
        self.assertIn("pack the original checkpoint", done.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 2 or not (pathlib.Path(sys.argv[1]) / "nwc-pack").is_file():
        sys.exit(__doc__)
    CliCase.binaries = pathlib.Path(sys.argv[1]).resolve()
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
